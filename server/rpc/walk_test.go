package rpc_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/roster"
)

func reasonIn(s *status.Status) string {
	for _, d := range s.Details() {
		if i, ok := d.(*errdetails.ErrorInfo); ok {
			return i.GetReason()
		}
	}
	return ""
}

// refusals are the reasons by which the table itself refuses.
var refusals = map[string]bool{"PERMISSION_DENIED": true, "NOT_YOURS": true}

// callers are who walks, with what the table knows of them.
var callers = map[string]auth.Principal{
	admin:       {Kind: auth.KindUser, User: "ann", Role: roster.Admin},
	responder:   {Kind: auth.KindUser, User: "ben", Role: roster.Responder},
	stakeholder: {Kind: auth.KindUser, User: "cyd", Role: roster.Stakeholder},
	phone:       {Kind: auth.KindDevice, User: "ben", Device: "benphone", Role: roster.Responder},
	monitor:     {Kind: auth.KindIntegration, Integration: "prom"},
	nobody:      {},
}

// request is a message whose names are of somebody else (ann): who may not
// touch them has to be refused. Everything else is empty, so that what is let
// in is refused by the rules of its message, or changes nothing.
func request(m protoreflect.MethodDescriptor) proto.Message {
	msg := dynamicpb.NewMessage(m.Input())
	rule, _ := auth.RuleOf(fullName(m))
	if rule.Own == "" {
		return msg
	}
	at := msg.ProtoReflect()
	path := strings.Split(rule.Own, ".")
	for _, name := range path[:len(path)-1] {
		at = at.Mutable(at.Descriptor().Fields().ByName(protoreflect.Name(name))).Message()
	}
	f := at.Descriptor().Fields().ByName(protoreflect.Name(path[len(path)-1]))
	at.Set(f, protoreflect.ValueOfString(anns(m)))
	return msg
}

// anns is something of ann's of the kind that the method is about.
func anns(m protoreflect.MethodDescriptor) string {
	switch {
	case strings.Contains(string(m.FullName()), "TokenService"):
		return "tokens/spare"
	case strings.Contains(string(m.FullName()), "UserService"), strings.HasSuffix(string(m.Name()), "Vacations"), strings.HasSuffix(string(m.Name()), "Enrolment"):
		return "users/ann"
	}
	return "devices/annphone"
}

func fullName(m protoreflect.MethodDescriptor) string {
	return fmt.Sprintf("/%s/%s", m.Parent().FullName(), m.Name())
}

// allMethods are those of every service of the API.
func allMethods(t *testing.T) []protoreflect.MethodDescriptor {
	var all []protoreflect.MethodDescriptor
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		if f.Package() != "tocsin.v1" {
			return true
		}
		for i := range f.Services().Len() {
			for j := range f.Services().Get(i).Methods().Len() {
				all = append(all, f.Services().Get(i).Methods().Get(j))
			}
		}
		return true
	})
	if len(all) < 80 {
		t.Fatalf("only %d methods are registered", len(all))
	}
	return all
}

// methodOf returns the method of that full name.
func methodOf(t *testing.T, name string) protoreflect.MethodDescriptor {
	t.Helper()
	for _, m := range allMethods(t) {
		if fullName(m) == name {
			return m
		}
	}
	t.Fatalf("there is no method %s", name)
	return nil
}

// verdict is what the table says: whether the caller is let in, and whether he
// is known at all.
func verdict(m protoreflect.MethodDescriptor, who string) (in, known bool) {
	p, rule := callers[who], func() auth.Rule { r, _ := auth.RuleOf(fullName(m)); return r }()
	if rule.Public {
		return true, true
	}
	known = p.Kind != auth.KindAnonymous
	in = auth.Permit(fullName(m), p) == nil
	if in && rule.Own != "" { // it names what is ann's
		in = who == admin
	}
	return in, known
}

// check holds an answer against the table.
func check(t *testing.T, door string, m protoreflect.MethodDescriptor, who string, s *status.Status) {
	t.Helper()
	in, known := verdict(m, who)
	refused := s.Code() == codes.PermissionDenied && refusals[reasonIn(s)]
	anonymous := s.Code() == codes.Unauthenticated && reasonIn(s) == "CREDENTIAL_MISSING"
	switch {
	case !known && !anonymous:
		t.Errorf("%s %s by %s: got %s %s, want UNAUTHENTICATED CREDENTIAL_MISSING", door, m.FullName(), who, s.Code(), reasonIn(s))
	case known && !in && !refused:
		t.Errorf("%s %s by %s: got %s %s (%s), want PERMISSION_DENIED", door, m.FullName(), who, s.Code(), reasonIn(s), s.Message())
	case in && refused:
		t.Errorf("%s %s by %s: refused (%s), and the table lets the caller in", door, m.FullName(), who, s.Message())
	case s.Code() == codes.Internal, s.Code() == codes.Unimplemented, s.Code() == codes.Unknown:
		t.Errorf("%s %s by %s: got %s (%s)", door, m.FullName(), who, s.Code(), s.Message())
	}
}

// TestEveryMethodOverBothDoors calls every method as everybody, by gRPC and by
// HTTP, and expects what the permission table says.
func TestEveryMethodOverBothDoors(t *testing.T) {
	r := newRig(t)
	for _, m := range allMethods(t) {
		for who := range callers {
			check(t, "gRPC", m, who, r.callGRPC(m, who))
			check(t, "HTTP", m, who, r.callHTTP(m, who))
		}
	}
	if in := r.dir.Snapshot(); in.Count("user") != 3 || in.Count("service") != 2 {
		t.Error("walking over the methods has changed the configuration")
	}
}

func (r *rig) callGRPC(m protoreflect.MethodDescriptor, who string) *status.Status {
	req := request(m)
	if !m.IsStreamingServer() {
		return status.Convert(r.conn.Invoke(r.as(who), fullName(m), req, dynamicpb.NewMessage(m.Output())))
	}
	stream, err := r.conn.NewStream(r.as(who), &grpc.StreamDesc{ServerStreams: true}, fullName(m))
	if err == nil {
		if err = stream.SendMsg(req); err == nil {
			_ = stream.CloseSend()
			err = stream.RecvMsg(dynamicpb.NewMessage(m.Output()))
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return status.Convert(err)
}

// callHTTP makes the call that the method's annotation describes.
func (r *rig) callHTTP(m protoreflect.MethodDescriptor, who string) *status.Status {
	rule, ok := proto.GetExtension(m.Options(), annotations.E_Http).(*annotations.HttpRule)
	if !ok {
		r.t.Fatalf("%s has no HTTP mapping", m.FullName())
	}
	method, path := verbOf(rule)
	req := request(m)
	raw, err := protojson.Marshal(req)
	if err != nil {
		r.t.Fatal(err)
	}
	body := string(raw)
	if rule.GetBody() != "*" && rule.GetBody() != "" { // one field of the message is the body
		f := m.Input().Fields().ByName(protoreflect.Name(rule.GetBody()))
		inner, err := protojson.Marshal(req.ProtoReflect().Get(f).Message().Interface())
		if err != nil {
			r.t.Fatal(err)
		}
		body = string(inner)
	}
	if rule.GetBody() == "" {
		body = ""
	}
	res := r.http(method, fill(path, m), who, body)
	defer res.Body.Close()
	if m.IsStreamingServer() && res.StatusCode == http.StatusOK {
		return status.New(codes.OK, "") // it streams until we hang up
	}
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	if res.StatusCode == http.StatusOK {
		return status.New(codes.OK, "")
	}
	if m.IsStreamingServer() { // the last line of a stream
		answer = []byte(strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(string(answer)), `{"error":`), "}"))
	}
	var s spb.Status
	if err := protojson.Unmarshal(answer, &s); err != nil {
		r.t.Fatalf("%s %s by %s: status %d with the body %q", method, path, who, res.StatusCode, answer)
	}
	return status.FromProto(&s)
}

func verbOf(rule *annotations.HttpRule) (method, path string) {
	switch p := rule.GetPattern().(type) {
	case *annotations.HttpRule_Get:
		return http.MethodGet, p.Get
	case *annotations.HttpRule_Post:
		return http.MethodPost, p.Post
	case *annotations.HttpRule_Patch:
		return http.MethodPatch, p.Patch
	case *annotations.HttpRule_Delete:
		return http.MethodDelete, p.Delete
	case *annotations.HttpRule_Put:
		return http.MethodPut, p.Put
	}
	return "", ""
}

// fill puts a name into the address: what is ann's where that matters, else
// one that is no id, so that nothing is found.
func fill(path string, m protoreflect.MethodDescriptor) string {
	for {
		a, rest, ok := strings.Cut(path, "{")
		if !ok {
			return path
		}
		inside, z, _ := strings.Cut(rest, "}")
		_, pattern, _ := strings.Cut(inside, "=")
		name := strings.ReplaceAll(pattern, "*", "!")
		if rule, _ := auth.RuleOf(fullName(m)); rule.Own != "" {
			name = anns(m)
		}
		path = a + name + z
	}
}

// statusOf is the status of an error.
func statusOf(err error) (*status.Status, error) { return status.Convert(err), nil }
