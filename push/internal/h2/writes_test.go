package h2

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
)

// slow is a connection whose writes wait until the test lets them.
type slow struct {
	net.Conn
	written chan []byte // one for each write
	closed  chan struct{}
	err     error
}

func newSlow() *slow { return &slow{written: make(chan []byte), closed: make(chan struct{})} }

func (s *slow) Write(b []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	select {
	case s.written <- bytes.Clone(b):
		return len(b), nil
	case <-s.closed:
		return 0, net.ErrClosed
	}
}

func (s *slow) Close() error {
	select {
	case <-s.closed:
	default:
		close(s.closed)
	}
	return nil
}

func TestWritesGoTogetherWhileOneIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlow()
		w := newWrites(s)
		defer func() { _ = w.Close() }()
		for _, piece := range []string{"a", "b", "c"} {
			if _, err := io.WriteString(w, piece); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		for _, want := range []string{"a", "bc"} {
			if got := <-s.written; string(got) != want {
				t.Errorf("%q was written at once, want %q", got, want)
			}
		}
	})
}

func TestWritesFailAfterTheConnectionHas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlow()
		s.err = errors.New("broken")
		w := newWrites(s)
		if _, err := io.WriteString(w, "a"); err != nil {
			t.Fatalf("the first write already fails: %v", err)
		}
		<-s.closed // so that whoever reads hears of it
		if _, err := io.WriteString(w, "b"); !errors.Is(err, s.err) {
			t.Errorf("the next write: %v, want %v", err, s.err)
		}
		_ = w.Close()
	})
}

func TestWritesWaitForRoomAndEndWithClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWrites(newSlow())
		much := make([]byte, mostUnwritten)
		ended := make(chan error, 1)
		go func() {
			var err error
			for range 4 {
				if _, err = w.Write(much); err != nil {
					break
				}
			}
			ended <- err
		}()
		synctest.Wait()
		select {
		case err := <-ended:
			t.Fatalf("writing went on without room: %v", err)
		default:
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("the write that waited: %v, want %v", err, net.ErrClosed)
		}
	})
}
