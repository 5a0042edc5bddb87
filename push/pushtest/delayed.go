package pushtest

import (
	"slices"
	"sync"
	"time"
)

// delayed is what a connection does later: mostly, to answer. A timer and a
// goroutine for each answer, and a packet, would cost more than the answers.
type delayed struct {
	mu    sync.Mutex
	tasks []task        // by instant
	busy  bool          // somebody runs them
	first chan struct{} // told that another one is due first
}

// add puts in a task. It reports that nobody runs them: the caller does.
func (d *delayed) add(at time.Time, do func()) (idle bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.first == nil {
		d.first = make(chan struct{}, 1)
	}
	behind, _ := slices.BinarySearchFunc(d.tasks, at, func(t task, at time.Time) int {
		if t.at.After(at) {
			return 1
		}
		return -1 // of one instant, those go first that came first
	})
	d.tasks = slices.Insert(d.tasks, behind, task{at, do})
	if behind == 0 {
		select {
		case d.first <- struct{}{}:
		default: // told already
		}
	}
	idle, d.busy = !d.busy, true
	return idle
}

// run does what is due until nothing is left, or quit is closed, and calls done
// after all that were due together.
func (d *delayed) run(quit <-chan struct{}, done func()) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		due, wait, left := d.take(time.Now())
		for _, t := range due {
			t.do()
		}
		if len(due) > 0 {
			done()
			continue
		}
		if !left {
			return
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-d.first:
		case <-quit:
			return
		}
	}
}

// take returns what is due, or else how long nothing is. When nothing is left,
// the next to add has to run.
func (d *delayed) take(now time.Time) (due []task, wait time.Duration, left bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	later := slices.IndexFunc(d.tasks, func(t task) bool { return t.at.After(now) })
	if later < 0 {
		later = len(d.tasks)
	}
	due = slices.Clone(d.tasks[:later])
	if d.tasks = slices.Delete(d.tasks, 0, later); len(d.tasks) > 0 {
		return due, d.tasks[0].at.Sub(now), true
	}
	d.busy = len(due) > 0
	return due, 0, false
}

// task is one thing to do at an instant.
type task struct {
	at time.Time
	do func()
}
