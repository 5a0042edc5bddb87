package push

// queue is first in, first out; jobs that ended while in it, or have their place
// elsewhere since, are skipped.
type queue struct {
	jobs []*job
	head int
}

func (q *queue) push(j *job) { q.jobs = append(q.jobs, j) }

// pushFront is for a job that had its turn and could not use it.
func (q *queue) pushFront(j *job) {
	if q.head == 0 {
		q.jobs = append([]*job{nil}, q.jobs...)
		q.head = 1
	}
	q.head--
	q.jobs[q.head] = j
}

func (q *queue) pop(of *bulkhead) *job {
	for q.head < len(q.jobs) {
		j := q.jobs[q.head]
		q.jobs[q.head] = nil
		q.head++
		if q.head == len(q.jobs) {
			q.jobs, q.head = q.jobs[:0], 0
		} else if q.head >= 1024 && 2*q.head >= len(q.jobs) {
			q.jobs = append(q.jobs[:0], q.jobs[q.head:]...)
			q.head = 0
		}
		if j.place == placeQueued && j.home == of {
			return j
		}
	}
	return nil
}
