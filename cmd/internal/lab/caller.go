package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// callPatience is how long an answer may take.
const callPatience = 30 * time.Second

// Caller posts prepared requests over one connection, and reads of the answers
// no more than it needs: it must not eat the processor that the server needs.
// It is for one goroutine.
type Caller struct {
	conn   net.Conn
	buffer []byte
}

// Dial connects a caller to a server.
func Dial(ctx context.Context, address string) (*Caller, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return &Caller{conn: conn, buffer: make([]byte, 0, 16<<10)}, nil
}

// Close ends the connection.
func (c *Caller) Close() error { return c.conn.Close() }

// Call sends one request and returns the status of its answer.
func (c *Caller) Call(request []byte) (int, error) {
	if err := c.conn.SetDeadline(time.Now().Add(callPatience)); err != nil {
		return 0, err
	}
	if _, err := c.conn.Write(request); err != nil {
		return 0, fmt.Errorf("send a request: %w", err)
	}
	c.buffer = c.buffer[:0]
	for {
		head, size, status, err := parseHead(c.buffer)
		if err != nil {
			return 0, err
		}
		if head > 0 && len(c.buffer) >= head+size {
			return status, nil
		}
		n, err := c.conn.Read(c.buffer[len(c.buffer):cap(c.buffer)])
		c.buffer = c.buffer[:len(c.buffer)+n]
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return 0, fmt.Errorf("read an answer: %w", err)
		}
		if len(c.buffer) == cap(c.buffer) {
			return 0, fmt.Errorf("an answer of more than %d bytes", cap(c.buffer))
		}
	}
}

// parseHead returns where the body of an answer begins, 0 when the head is not
// complete, and how long the body is.
func parseHead(b []byte) (head, size, status int, err error) {
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		return 0, 0, 0, nil
	}
	if len(b) < 12 {
		return 0, 0, 0, fmt.Errorf("an answer begins with %q", b)
	}
	if status, err = strconv.Atoi(string(b[9:12])); err != nil {
		return 0, 0, 0, fmt.Errorf("an answer begins with %q", b[:12])
	}
	length := []byte("\r\nContent-Length: ")
	if at := bytes.Index(b[:end], length); at >= 0 {
		text := b[at+len(length):]
		text = text[:bytes.IndexByte(text, '\r')]
		if size, err = strconv.Atoi(string(text)); err != nil {
			return 0, 0, 0, fmt.Errorf("an answer has the length %q", text)
		}
	}
	return end + 4, size, status, nil
}

// Event is a prepared request of Events v2 whose dedup key can be put in.
type Event struct {
	request []byte
	at      int // where the key is
}

// keyWidth is how long the dedup keys are that are put in.
const keyWidth = 20

// NewEvent prepares a trigger for the service with a summary and details as a
// monitor sends them.
func NewEvent(service int) *Event { return newEvent(service, "trigger") }

// NewResolve prepares the end of what an event of the same key began.
func NewResolve(service int) *Event { return newEvent(service, "resolve") }

func newEvent(service int, action string) *Event {
	body := fmt.Sprintf(`{"routing_key":%q,"event_action":%q,"dedup_key":"%0*d","payload":{"summary":"Error rate of checkout above 5%% for 10 minutes on web-%d",`+
		`"source":"web-%d.example.com","severity":"critical","component":"checkout","class":"HighErrorRate","custom_details":{"rate":"7.3%%","threshold":"5%%","runbook":"https://wiki.example.com/checkout"}}}`,
		Key(service), action, keyWidth, 0, service, service)
	head := fmt.Sprintf("POST /v2/enqueue HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", len(body))
	e := &Event{request: []byte(head + body)}
	e.at = bytes.Index(e.request, []byte(`"dedup_key":"`)) + len(`"dedup_key":"`)
	return e
}

// Request is the request with the dedup key n. It is good until the next call.
func (e *Event) Request(n int64) []byte {
	for i := keyWidth - 1; i >= 0; i-- {
		e.request[e.at+i] = byte('0' + n%10)
		n /= 10
	}
	return e.request
}
