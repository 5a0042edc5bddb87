package rpc

import (
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/tocsin-oncall/tocsin/server/fault"
)

// update sets the fields of to that the mask names to what they are in from.
// Without a mask, those that are set in from; "*" is all. Fields that are the
// server's to say are passed over, as in a resource that is read, changed and
// sent back whole (AIP-134, AIP-203). It returns the paths that were taken.
func update(to, from proto.Message, mask *fieldmaskpb.FieldMask) ([]string, error) {
	paths := mask.GetPaths()
	switch {
	case len(paths) == 0:
		from.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
			paths = append(paths, string(f.Name()))
			return true
		})
	case len(paths) == 1 && paths[0] == "*":
		paths = nil
		fields := from.ProtoReflect().Descriptor().Fields()
		for i := range fields.Len() {
			paths = append(paths, string(fields.Get(i).Name()))
		}
	}
	var taken []string
	for _, path := range paths {
		ok, err := take(to.ProtoReflect(), from.ProtoReflect(), path)
		if err != nil {
			return nil, err
		}
		if ok {
			taken = append(taken, path)
		}
	}
	return taken, nil
}

// take sets one field, or a field inside of one.
func take(to, from protoreflect.Message, path string) (bool, error) {
	whole := path
	for {
		name, rest, nested := strings.Cut(path, ".")
		f := to.Descriptor().Fields().ByName(protoreflect.Name(name))
		switch {
		case f == nil:
			return false, fault.InvalidField("update_mask", "there is no field %q", whole)
		case name == "etag", theServers(f):
			return false, nil
		case !nested:
			if from.Has(f) {
				to.Set(f, from.Get(f))
			} else {
				to.Clear(f)
			}
			return true, nil
		case f.Kind() != protoreflect.MessageKind || f.IsList() || f.IsMap():
			return false, fault.InvalidField("update_mask", "%q goes into a field that has no fields", whole)
		}
		to, from, path = to.Mutable(f).Message(), from.Get(f).Message(), rest
	}
}

// theServers reports whether callers cannot set the field.
func theServers(f protoreflect.FieldDescriptor) bool {
	behaviours, _ := proto.GetExtension(f.Options(), annotations.E_FieldBehavior).([]annotations.FieldBehavior)
	return slices.Contains(behaviours, annotations.FieldBehavior_OUTPUT_ONLY) ||
		slices.Contains(behaviours, annotations.FieldBehavior_IDENTIFIER)
}

// slug makes the last part of a resource name of what people call a thing:
// 1 to 63 of a to z, 0 to 9, ".", "_" and "-".
func slug(text string) string {
	var b strings.Builder
	gap := false
	for _, r := range strings.ToLower(text) {
		switch {
		case (r >= 'a' && r <= 'z') || (r >= '0' && r <= '9'):
			if gap && b.Len() > 0 {
				b.WriteByte('-')
			}
			gap = false
			b.WriteRune(r)
		default:
			gap = true
		}
		if b.Len() >= 60 {
			break
		}
	}
	return b.String()
}
