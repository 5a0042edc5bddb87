package rpc

import (
	"errors"
	"fmt"
	"strings"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"

	"github.com/tocsin-oncall/tocsin/server/fault"
)

// validate holds a message against the rules of its proto and names every
// field that breaks one.
func validate(v protovalidate.Validator, m any) error {
	msg, ok := m.(proto.Message)
	if !ok {
		return fmt.Errorf("a request is a %T, not a message", m)
	}
	err := v.Validate(msg)
	if err == nil {
		return nil
	}
	broken, ok := errors.AsType[*protovalidate.ValidationError](err)
	if !ok {
		return fmt.Errorf("validate %s: %w", msg.ProtoReflect().Descriptor().FullName(), err)
	}
	var all []error
	for _, violation := range broken.Violations {
		path := protovalidate.FieldPathString(violation.Proto.GetField())
		fix := violation.Proto.GetMessage()
		// Rules about several fields begin their sentence with the path.
		if said, rest, ok := strings.Cut(fix, ": "); ok && !strings.ContainsAny(said, " ") {
			path, fix = strings.TrimPrefix(path+"."+said, "."), rest
		}
		if path == "" {
			path = "request"
		}
		if fix == "" {
			fix = "breaks the rule " + violation.Proto.GetRuleId()
		}
		all = append(all, fault.InvalidField(path, "%s", fix))
	}
	return fault.Fields(all...)
}
