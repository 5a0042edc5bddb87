package pushtest

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestDelayedRunsWhatIsDueTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d delayed
		var got []string
		began := time.Now()
		task := func(name string, after time.Duration) (idle bool) {
			return d.add(began.Add(after), func() { got = append(got, name) })
		}
		if !task("late", 3*time.Second) {
			t.Fatal("the first task finds somebody who runs it")
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			d.run(t.Context().Done(), func() { got = append(got, time.Since(began).String()) })
		}()
		synctest.Wait()
		if task("one", time.Second) || task("two", time.Second) {
			t.Error("a later task finds nobody who runs it")
		}
		<-ended
		if want := []string{"one", "two", "1s", "late", "3s"}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		if !task("again", 4*time.Second) {
			t.Error("after the last task somebody still runs them")
		}
	})
}
