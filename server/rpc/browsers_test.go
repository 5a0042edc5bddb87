package rpc_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/push"
	"github.com/tocsin-oncall/tocsin/push/webpush"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/rpc"
)

// browsers is an installation with one web app.
type browsers struct{ key []byte }

func (b browsers) WebKey(app string) (string, []byte, bool) {
	return "oncall", b.key, app == "" || app == "oncall"
}

func (browsers) CheckSubscription(_ string, s directory.AddressSecret) error {
	if err := webpush.CheckEndpoint(s.Value); err != nil {
		return err
	}
	encode := base64.RawURLEncoding.EncodeToString
	return webpush.CheckKeys(push.SubscriptionKeys{P256dh: encode(s.P256dh), Auth: encode(s.Auth)})
}

func browser(endpoint string) *pb.Device {
	key := must(ecdh.P256().GenerateKey(rand.Reader))
	return &pb.Device{
		InstallId: uuid.NewString(), Platform: pb.Device_PLATFORM_WEB, AppId: "oncall", Model: "Firefox",
		Address: &pb.Device_Address{Kind: pb.Device_Address_KIND_WEB_PUSH, Value: endpoint, WebPushKey: key.PublicKey().Bytes(), WebPushAuth: make([]byte, 16)},
	}
}

// TestCase45_EndpointsAreRefusedAtRegistration: a browser may register with an
// endpoint of its push service; with any other, or with keys that are none, it is
// refused with the field that is wrong, by all three calls that take an address.
func TestCase45_EndpointsAreRefusedAtRegistration(t *testing.T) {
	r := newRig(t, func(c *rpc.Config) { c.Browsers = browsers{} })
	c := r.devices()
	good, err := c.RegisterDevice(r.as(responder), &pb.RegisterDeviceRequest{Device: browser("https://updates.push.services.mozilla.com/wpush/v2/gAAA")})
	if err != nil || good.GetDevice().GetState() != pb.Device_STATE_ACTIVE {
		t.Fatalf("a browser's own endpoint: %v (%v)", good, err)
	}
	self := bearer(t.Context(), good.GetCredential())
	link := must(c.CreateEnrolment(r.as(responder), &pb.CreateEnrolmentRequest{User: "users/me"}))
	for _, endpoint := range []string{
		"https://evil.example/", "https://x.google.com.evil.tld/x", "https://169.254.169.254/x", "https://127.0.0.1:8443/a.push.apple.com/x", "https://user@fcm.googleapis.com/x",
		"https://fcm.googleapis.com:8443/x", "https://[::ffff:10.0.0.1]/x",
	} {
		bad := browser(endpoint)
		_, err := c.RegisterDevice(r.as(responder), &pb.RegisterDeviceRequest{Device: bad})
		wantsField(t, err, "device.address.value")
		_, err = c.UpdateDevice(self, &pb.UpdateDeviceRequest{Device: &pb.Device{Name: good.GetDevice().GetName(), Address: bad.GetAddress()}})
		wantsField(t, err, "device.address.value")
		_, err = c.EnrolDevice(t.Context(), &pb.EnrolDeviceRequest{Code: link.GetCode(), Device: bad})
		wantsField(t, err, "device.address.value")
	}
	if _, err := c.PreviewEnrolment(t.Context(), &pb.PreviewEnrolmentRequest{Code: link.GetCode()}); err != nil {
		t.Errorf("the code was used up by what could not work: %v", err)
	}
	bad := browser("https://fcm.googleapis.com/fcm/send/x")
	bad.Address.WebPushKey = bytes.Repeat([]byte{4}, 65)
	_, err = c.RegisterDevice(r.as(responder), &pb.RegisterDeviceRequest{Device: bad})
	wantsField(t, err, "device.address.value")
}

func wantsField(t *testing.T, err error, field string) {
	t.Helper()
	for _, d := range wants(t, err, codes.InvalidArgument, "INVALID_FIELD").Details() {
		if b, ok := d.(*errdetails.BadRequest); ok {
			for _, v := range b.GetFieldViolations() {
				if v.GetField() != field || v.GetDescription() == "" {
					t.Errorf("%s is wrong: %q; want %s, and how to mend it", v.GetField(), v.GetDescription(), field)
				}
			}
			return
		}
	}
	t.Errorf("no field is named: %v", err)
}

// The web app gets the key to subscribe with before it is anybody's.
func TestWebPushKey(t *testing.T) {
	key := bytes.Repeat([]byte{4}, 65)
	r := newRig(t, func(c *rpc.Config) { c.Browsers = browsers{key} })
	for _, app := range []string{"", "oncall"} {
		got, err := r.devices().GetWebPushKey(t.Context(), &pb.GetWebPushKeyRequest{AppId: app})
		if err != nil || !bytes.Equal(got.GetKey(), key) || got.GetAppId() != "oncall" {
			t.Errorf("app %q: %v (%v)", app, got, err)
		}
	}
	_, err := r.devices().GetWebPushKey(t.Context(), &pb.GetWebPushKeyRequest{AppId: "other"})
	wants(t, err, codes.NotFound, "NO_WEB_APP")
	res := r.http(http.MethodGet, "/v1/webPushKey", "", "")
	defer res.Body.Close()
	body := must(io.ReadAll(res.Body))
	if res.StatusCode != http.StatusOK || !strings.Contains(string(body), base64.StdEncoding.EncodeToString(key)) {
		t.Errorf("over HTTP: %d %s", res.StatusCode, body)
	}

	none := newRig(t)
	_, err = none.devices().GetWebPushKey(t.Context(), &pb.GetWebPushKeyRequest{})
	wants(t, err, codes.NotFound, "NO_WEB_APP")
	_, err = none.devices().RegisterDevice(none.as(responder), &pb.RegisterDeviceRequest{Device: browser("https://fcm.googleapis.com/fcm/send/x")})
	wantsField(t, err, "device.address.kind")
}
