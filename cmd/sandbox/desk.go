package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	tocsinv1 "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/cmd/internal/lab"
)

// desk is from where a test drives the installation. Its calls are JSON over
// HTTP on loopback; a mistake is answered 400 with {"error": "…"}.
type desk struct {
	lab  *lab.Lab
	line *line
	conn *grpc.ClientConn // to the server, as administrator

	mu     sync.Mutex // one change of the server at a time
	server *lab.Server
	http   *http.Server
	done   chan struct{}
}

// start starts the server, on another port than before.
func (d *desk) start(ctx context.Context) (err error) {
	if d.conn == nil {
		if d.conn, err = admin(d.lab.AdminSocket()); err != nil {
			return err
		}
	}
	if d.server, err = d.lab.ServeUnready(ctx); err != nil {
		return err
	}
	d.line.lead(d.server.Listen)
	return nil
}

// listen takes calls, and returns where.
func (d *desk) listen(ctx context.Context) (string, error) {
	var listen net.ListenConfig
	l, err := listen.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("listen for a test: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /enrolments", answer(d.enrol))
	mux.HandleFunc("POST /alerts", answer(d.alert))
	mux.HandleFunc("POST /line", answer(d.setLine))
	mux.HandleFunc("POST /server", answer(d.setServer))
	mux.HandleFunc("POST /devices/{id}/revoke", answer(d.revoke))
	d.http, d.done = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}, make(chan struct{})
	go func() { // ends in close
		defer close(d.done)
		_ = d.http.Serve(l) // always an error: it was closed
	}()
	return "http://" + l.Addr().String(), nil
}

func (d *desk) close() error {
	if d.http != nil {
		_ = d.http.Close()
		<-d.done
	}
	_ = d.conn.Close()
	if d.server == nil {
		return nil
	}
	return d.server.Stop()
}

// answer makes a call of a function that takes the body and returns what to answer.
func answer[T any](do func(r *http.Request, body T) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var body T
		text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err == nil && len(bytes.TrimSpace(text)) > 0 {
			dec := json.NewDecoder(bytes.NewReader(text))
			dec.DisallowUnknownFields()
			err = dec.Decode(&body)
		}
		var v any
		if err == nil {
			v, err = do(r, body)
		}
		w.Header().Set("Content-Type", "application/json")
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			if s, ok := status.FromError(err); ok {
				err = errors.New(s.Message())
			}
			v = map[string]string{"error": err.Error()}
		}
		_ = json.NewEncoder(w).Encode(v) // whoever has gone needs no answer
	}
}

// person is whom an enrolment is for.
type person struct {
	User string `json:"user"` // ann, ben or cy
}

// enrol makes a link for one phone of a person.
func (d *desk) enrol(r *http.Request, p person) (any, error) {
	e, err := tocsinv1.NewDeviceServiceClient(d.conn).CreateEnrolment(r.Context(), &tocsinv1.CreateEnrolmentRequest{User: "users/" + p.User})
	if err != nil {
		return nil, err
	}
	return map[string]string{"uri": e.GetUri(), "code": e.GetCode()}, nil
}

// alert is what a monitor says.
type alert struct {
	Service string `json:"service"` // payments (ann and ben are paged) or search (ann is)
	Key     string `json:"key"`     // what it is about; the same key is the same incident
	Action  string `json:"action"`  // trigger, the default, or resolve
	Summary string `json:"summary"`
}

// alert sends it to the server, past the line.
func (d *desk) alert(r *http.Request, a alert) (any, error) {
	if a.Action == "" {
		a.Action = "trigger"
	}
	if a.Summary == "" {
		a.Summary = "disk full"
	}
	body, err := json.Marshal(map[string]any{
		"routing_key": integrationKey(a.Service), "event_action": a.Action, "dedup_key": a.Key,
		"payload": map[string]string{"summary": a.Summary, "source": "db1", "severity": "critical"},
	})
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.server == nil {
		return nil, errors.New("the server was killed: start it first")
	}
	request, err := http.NewRequestWithContext(r.Context(), http.MethodPost, "http://"+d.server.Listen+"/v2/enqueue", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusAccepted {
		return nil, fmt.Errorf("the server answers %d: %s", res.StatusCode, text)
	}
	return json.RawMessage(text), nil
}

// integrationKey is that of organisation.yaml: the service's name and zeros.
func integrationKey(service string) string {
	const length = 32
	return service + string(bytes.Repeat([]byte("0"), max(0, length-1-len(service)))) + "x"
}

func (d *desk) setLine(r *http.Request, w weather) (any, error) {
	return struct{}{}, d.line.set(context.WithoutCancel(r.Context()), w)
}

// order is what happens to the server.
type order struct {
	Do string `json:"do"` // kill, start or restart
}

func (d *desk) setServer(r *http.Request, o order) (any, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch o.Do {
	case "kill", "restart":
		if d.server != nil {
			d.server.Kill()
			d.server = nil
		}
	case "start":
		if d.server != nil {
			return nil, errors.New("do: the server runs; restart it")
		}
	default:
		return nil, fmt.Errorf("do: %q is none of kill, start, restart", o.Do)
	}
	if o.Do == "kill" {
		return struct{}{}, nil
	}
	if err := d.start(context.WithoutCancel(r.Context())); err != nil {
		return nil, err
	}
	return map[string]string{"direct": "http://" + d.server.Listen}, nil
}

// revoke takes a device's credential back, as an administrator does.
func (d *desk) revoke(r *http.Request, _ struct{}) (any, error) {
	_, err := tocsinv1.NewDeviceServiceClient(d.conn).RevokeDevice(r.Context(), &tocsinv1.RevokeDeviceRequest{Name: "devices/" + r.PathValue("id")})
	return struct{}{}, err
}
