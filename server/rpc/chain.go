package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/tocsin-oncall/tocsin/server/auth"
	"github.com/tocsin-oncall/tocsin/server/directory"
	"github.com/tocsin-oncall/tocsin/server/fault"
)

// The chain is the same for unary calls and streams, and for both doors:
// request id, recover, log, errors, caller, permission, limits, rules of the message.

// Options returns what the gRPC server has to be made with.
func (s *Server) Options() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(s.unary), grpc.ChainStreamInterceptor(s.stream),
		grpc.MaxRecvMsgSize(s.c.Limits.MaxMessage), grpc.ForceServerCodecV2(newCodec()),
	}
}

func (s *Server) unary(ctx context.Context, req any, i *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (answer any, err error) {
	c := newCall(ctx, i.FullMethod, s.c.Now())
	_ = grpc.SetHeader(ctx, metadata.Pairs(RequestIDHeader, c.id)) // a caller that is gone needs none
	defer func() {
		answer, err = s.finish(ctx, c, answer, err, recover())
	}()
	if err = s.admit(ctx, c); err != nil {
		return nil, err
	}
	if err = s.limits.take(c, c.started); err != nil {
		return nil, err
	}
	if err = s.check(c, req); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, longestCall)
	defer cancel()
	return handler(withCall(ctx, c), req)
}

// longestCall is how long a call that is no stream may take: whoever asks while
// Redis hangs hears so before he gives up himself.
const longestCall = 10 * time.Second

func (s *Server) stream(srv any, ss grpc.ServerStream, i *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
	ctx := ss.Context()
	c := newCall(ctx, i.FullMethod, s.c.Now())
	_ = ss.SetHeader(metadata.Pairs(RequestIDHeader, c.id)) // as above
	defer func() {
		_, err = s.finish(ctx, c, nil, err, recover())
	}()
	if err = s.admit(ctx, c); err != nil {
		return err
	}
	if err = s.limits.take(c, c.started); err != nil {
		return err
	}
	end, err := s.limits.open(c, c.started)
	if err != nil {
		return err
	}
	defer end()
	live, ended := s.streams.add(ctx, func(looking context.Context) error {
		return s.stillMay(metadata.NewIncomingContext(looking, mdOf(ctx)), c)
	})
	defer ended()
	if err = s.stillMay(ctx, c); err != nil { // since it was let in, and before it could be found among the open ones
		return err
	}
	err = handler(srv, &checkedStream{
		ServerStream: ss, ctx: withCall(live, c),
		check: func(m any) error { return s.check(c, m) }, may: s.mayGoOn(ctx, c),
	})
	if why := context.Cause(live); ctx.Err() == nil && why != nil {
		return why // it has ended for that, whatever the handler made of it
	}
	return err
}

func mdOf(ctx context.Context) metadata.MD {
	md, _ := metadata.FromIncomingContext(ctx)
	return md
}

// checkedStream holds every message that comes in against its rules, and the
// caller of every one that goes out against what he may by now.
type checkedStream struct {
	grpc.ServerStream

	ctx   context.Context //nolint:containedctx // a stream is its context
	check func(any) error
	may   func() error
}

func (c *checkedStream) SendMsg(m any) error {
	if err := c.may(); err != nil {
		return err
	}
	return c.ServerStream.SendMsg(m)
}

func (c *checkedStream) Context() context.Context { return c.ctx }

func (c *checkedStream) RecvMsg(m any) error {
	if err := c.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	return c.check(m)
}

// public says of methods outside our own package that nobody needs a
// credential for them: health and reflection, which tell nothing of people.
func public(method string) bool {
	return strings.HasPrefix(method, "/grpc.health.v1.") || strings.HasPrefix(method, "/grpc.reflection.")
}

// admit finds out who calls and whether he may.
func (s *Server) admit(ctx context.Context, c *call) error {
	p, err := s.authenticate(ctx)
	if err != nil {
		return err
	}
	if c.console && p.Kind == auth.KindAnonymous {
		p = auth.Console()
	}
	c.principal = p
	if p.Device != "" {
		s.heard(ctx, c)
	}
	if public(c.method) {
		return nil
	}
	return auth.Permit(c.method, p)
}

// authenticate returns the caller by what the context says of him. It is asked
// before every message of a stream, and copies no more of the metadata than it needs.
func (s *Server) authenticate(ctx context.Context) (auth.Principal, error) {
	return s.c.Auth.Authenticate(ctx, func(name string) string {
		if v := metadata.ValueFromIncomingContext(ctx, name); len(v) > 0 {
			return v[0]
		}
		return ""
	})
}

// stillMay refuses who has lost the right to a stream since it was opened: a
// stream may last for weeks, and a phone that was lost must not go on reading.
func (s *Server) stillMay(ctx context.Context, c *call) error {
	if public(c.method) || c.principal.Kind == auth.KindConsole || c.principal.Kind == auth.KindAnonymous {
		return nil
	}
	p, err := s.authenticate(ctx)
	if err != nil {
		return err
	}
	return auth.Permit(c.method, p)
}

// mayGoOn returns stillMay for every message of a stream. What the configuration
// says of a device holds until it changes, and is not looked up again for each of
// thousands of phones; other credentials end at a time of their own.
func (s *Server) mayGoOn(ctx context.Context, c *call) func() error {
	var looked *directory.Snapshot
	return func() error {
		book := s.c.Directory.Snapshot()
		if book == looked && c.principal.Kind == auth.KindDevice {
			return nil
		}
		if err := s.stillMay(ctx, c); err != nil {
			return err
		}
		looked = book
		return nil
	}
}

// check holds a request against what its caller may name and against its rules.
func (s *Server) check(c *call, req any) error {
	if m, ok := req.(proto.Message); ok && !public(c.method) {
		if err := auth.PermitRequest(c.method, c.principal, m, s.c.Directory.Snapshot()); err != nil {
			return err
		}
	}
	return validate(s.rules, req)
}

// finish logs a call and turns its error into a status.
func (s *Server) finish(ctx context.Context, c *call, answer any, err error, panicked any) (any, error) {
	if panicked != nil {
		err = fmt.Errorf("panic: %v\n%s", panicked, debug.Stack())
	}
	if err == nil {
		s.log(ctx, slog.LevelDebug, c, codes.OK, nil)
		return answer, nil
	}
	st := statusOf(err, c.id)
	level := slog.LevelDebug
	switch st.Code() {
	case codes.Internal, codes.Unknown, codes.DataLoss:
		level = slog.LevelError
	case codes.Unavailable:
		if !errors.Is(err, errDraining) {
			level = slog.LevelWarn
		}
	case codes.DeadlineExceeded:
		level = slog.LevelWarn
	default:
	}
	s.log(ctx, level, c, st.Code(), err)
	return nil, st.Err()
}

func (s *Server) log(ctx context.Context, level slog.Level, c *call, code codes.Code, err error) {
	if !s.c.Log.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("method", c.method), slog.String("code", code.String()), slog.String("request", c.id),
		slog.String("caller", c.principal.String()), slog.String("ip", c.ip), slog.Duration("took", s.c.Now().Sub(c.started)),
	}
	if err != nil {
		attrs = append(attrs, slog.Any("err", err))
		if st, ok := status.FromError(err); ok && st.Code() != codes.Unknown {
			attrs = append(attrs, slog.String("reason", reasonOf(st)))
		}
	}
	s.c.Log.LogAttrs(ctx, level, "call answered", attrs...)
}

// errDraining ends streams when the server does.
var errDraining = fault.New(fault.Unavailable, "SERVER_DRAINING",
	"this server is stopping; come back and go on from your cursor").After(time.Second)
