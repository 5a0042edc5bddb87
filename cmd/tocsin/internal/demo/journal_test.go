package demo

import (
	"context"
	"testing"
	"time"
)

func TestJournal(t *testing.T) {
	t.Parallel()
	j := newJournal()
	j.add(sighting{where: atMail, text: "old"})
	mark := j.mark()
	mail := func(g sighting) bool { return g.where == atMail }
	if old, err := j.await(t.Context(), 0, mail); err != nil || old.text != "old" {
		t.Errorf("what was seen already: got %q, %v, want old", old.text, err)
	}
	got := make(chan string)
	go func() {
		g, err := j.await(t.Context(), mark, mail)
		if err != nil {
			t.Error(err)
		}
		got <- g.text
	}()
	j.add(sighting{where: atPhone, text: "something else"})
	j.add(sighting{where: atMail, text: "new"})
	if text := <-got; text != "new" {
		t.Errorf("what is still to come: got %q, want new", text)
	}
	if found := j.find(mark, mail); len(found) != 1 {
		t.Errorf("found %d after the mark, want 1", len(found))
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := j.await(ctx, j.mark(), mail); err == nil {
		t.Error("something was seen that never came")
	}
}
