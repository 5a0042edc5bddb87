package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	"google.golang.org/protobuf/proto"

	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/store"
)

// A request id is kept with the caller and the method before it: another
// caller's id, or the same one on another method, is another request.
func (c *call) request(id string) string {
	if id == "" {
		return ""
	}
	return c.name() + " " + c.method + " " + id
}

// encode writes an answer the same way every time.
func encode(m proto.Message) ([]byte, error) {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", m.ProtoReflect().Descriptor().Name(), err)
	}
	return b, nil
}

// answered fills in the answer that was given to the request before, if there is one.
func (s *Server) answered(ctx context.Context, p store.Partition, request string, answer proto.Message) (bool, error) {
	if request == "" {
		return false, nil
	}
	b, ok, err := s.c.Store.Answer(ctx, p, request)
	if err != nil || !ok {
		return false, err
	}
	if err := proto.Unmarshal(b, answer); err != nil {
		return false, fmt.Errorf("decode the first answer of %s: %w", request, err)
	}
	return true, nil
}

// message is a pointer to a message type.
type message[T any] interface {
	*T
	proto.Message
}

// once carries something out whose own commit cannot keep the answer, and
// keeps it beside. kept returns what of the answer is kept: all but what is
// shown once. Of two calls that race, both get the answer of the one that is
// kept first.
func once[T any, M message[T]](ctx context.Context, s *Server, p store.Partition, id string, kept func(M) M, do func() (M, error)) (M, error) {
	request := callOf(ctx).request(id)
	before := M(new(T))
	if ok, err := s.answered(ctx, p, request, before); ok || err != nil {
		return before, err
	}
	answer, err := do()
	if err != nil || request == "" {
		return answer, err
	}
	keep := answer
	if kept != nil {
		keep = kept(answer)
	}
	b, err := encode(keep)
	if err != nil {
		return answer, err
	}
	// What is done is done: a caller that hangs up must not undo the record of it.
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), afterwards)
	defer cancel()
	_, err = s.c.Store.Commit(after, store.Commit{Partition: p, Request: &store.Request{ID: request, Answer: b}})
	switch {
	case errors.Is(err, store.ErrRequestAnswered):
		if ok, err := s.answered(ctx, p, request, before); ok || err != nil {
			return before, err
		}
	case err != nil:
		s.c.Log.WarnContext(ctx, "answer not kept for a retry", slog.String("request", callOf(ctx).id), slog.Any("err", err))
	}
	return answer, nil
}

// audit keeps a record of a change that is no configuration; those of
// configuration are written by its own commit.
func (s *Server) audit(ctx context.Context, resource, action, change string) {
	c := callOf(ctx)
	record, err := json.Marshal(auth.Audit{
		At: s.c.Now().UTC(), Actor: c.principal.String(), Method: c.method, Resource: resource, Action: action, Change: change,
		Request: c.id, IP: c.ip,
	})
	if err == nil {
		after, cancel := context.WithTimeout(context.WithoutCancel(ctx), afterwards)
		defer cancel()
		err = s.c.Store.Audit(after, record)
	}
	if err != nil {
		s.c.Log.WarnContext(ctx, "audit record not kept", slog.String("resource", resource), slog.String("request", c.id), slog.Any("err", err))
	}
}
