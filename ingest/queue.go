package ingest

import "sync"

// queue is a bounded channel that may be closed while others still put into
// it, which at shutdown they do.
type queue[T any] struct {
	mu     sync.RWMutex
	closed bool
	ch     chan T
}

func newQueue[T any](size int) *queue[T] { return &queue[T]{ch: make(chan T, size)} }

// put reports whether there was room. It never blocks.
func (q *queue[T]) put(v T) bool {
	q.mu.RLock()
	defer q.mu.RUnlock()
	if q.closed {
		return false
	}
	select {
	case q.ch <- v:
		return true
	default:
		return false
	}
}

// gather waits for one value and appends it and those already waiting behind
// it, at most limit in all. It appends nothing once the queue is closed and
// empty.
func (q *queue[T]) gather(batch []T, limit int) []T {
	v, ok := <-q.ch
	for ok {
		if batch = append(batch, v); len(batch) >= limit {
			return batch
		}
		select {
		case v, ok = <-q.ch:
		default:
			return batch
		}
	}
	return batch
}

// close lets no more in; what is in it can still be gathered.
func (q *queue[T]) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.closed = true
		close(q.ch)
	}
}

func (q *queue[T]) isClosed() bool {
	q.mu.RLock()
	defer q.mu.RUnlock()
	return q.closed
}
