package rpc_test

import (
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/push/seal"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

func sealKey(t *testing.T) []byte {
	t.Helper()
	return must(seal.NewPrivateKey()).Public()
}

// A key that failed says so in the device's record, stays out of use when the
// app registers it once more, and is forgotten for another one.
func TestSealKeyThatFailed(t *testing.T) {
	r := newRig(t)
	c := r.devices()
	mine := app("7")
	mine.SealKey, mine.SealKeyId = sealKey(t), "k1"
	got, err := c.RegisterDevice(r.as(responder), &pb.RegisterDeviceRequest{Device: mine})
	if err != nil || got.GetDevice().GetSealKeyFailedTime() != nil {
		t.Fatalf("registered: %v (%v)", got, err)
	}
	self := bearer(t.Context(), got.GetCredential())
	id := roster.DeviceID(got.GetDevice().GetName()[len("devices/"):])
	_, err = r.dir.Change(t.Context(), directory.By{}, func(e *directory.Edit) error {
		d, _ := e.GetDevice(id)
		failed := *d
		failed.SealFailed = e.Now
		return e.Update(&failed, "")
	})
	if err != nil {
		t.Fatal(err)
	}
	seen, err := c.RegisterDevice(self, &pb.RegisterDeviceRequest{Device: mine})
	if err != nil || seen.GetDevice().GetSealKeyFailedTime() == nil {
		t.Errorf("the same key once more: %v (%v), want it out of use still", seen, err)
	}
	now, err := c.UpdateDevice(self, &pb.UpdateDeviceRequest{
		Device:     &pb.Device{Name: "devices/me", SealKey: sealKey(t), SealKeyId: "k2"},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"seal_key", "seal_key_id"}},
	})
	if err != nil || now.GetSealKeyFailedTime() != nil || now.GetSealKeyId() != "k2" {
		t.Errorf("another key: %v (%v), want it in use", now, err)
	}
}

func TestSealKeyThatIsNone(t *testing.T) {
	r := newRig(t)
	mine := app("8")
	mine.SealKey = sealKey(t)
	mine.SealKey[64] ^= 1
	_, err := r.devices().RegisterDevice(r.as(responder), &pb.RegisterDeviceRequest{Device: mine})
	refused := wants(t, err, codes.InvalidArgument, "INVALID_FIELD")
	if got, want := refused.Message(), "seal_key: is no uncompressed point of P-256, which is 65 bytes long and begins with 4"; got != want {
		t.Errorf("refused with %q, want %q", got, want)
	}
}
