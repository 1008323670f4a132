package bench

import (
	"sync"
	"time"
)

// Usage is what processes took, by name: seconds of user and system time, and
// the peak of memory in bytes. A process that cannot be read is missing.
type Usage struct {
	CPU    map[string]float64 `json:"cpu_s"`
	Memory map[string]int64   `json:"memory_bytes"`
}

// Watch begins to measure the rig's processes; the function that it returns
// ends that.
func (r *Rig) Watch() (stop func() Usage) { return watch(r.Processes).stop }

// watching samples processes until it is stopped.
type watching struct {
	list []Process
	cpu  map[string]time.Duration
	peak map[string]int64
	quit chan struct{}
	done sync.WaitGroup
}

// sampleEvery is how often memory that several processes share is looked at;
// for a single process the kernel keeps the peak itself.
const sampleEvery = time.Second

func watch(list []Process) *watching {
	w := &watching{list: list, cpu: map[string]time.Duration{}, peak: map[string]int64{}, quit: make(chan struct{})}
	for _, p := range list {
		if d, err := p.CPU(); err == nil {
			w.cpu[p.Name] = d
		}
	}
	w.done.Go(func() {
		ticker := time.NewTicker(sampleEvery)
		defer ticker.Stop()
		for {
			w.sample()
			select {
			case <-w.quit:
				return
			case <-ticker.C:
			}
		}
	})
	return w
}

func (w *watching) sample() {
	for _, p := range w.list {
		n, err := p.Peak()
		if p.Tree {
			n, err = p.Resident()
		}
		if err == nil {
			w.peak[p.Name] = max(w.peak[p.Name], n)
		}
	}
}

// stop returns what was used since watch.
func (w *watching) stop() Usage {
	u := Usage{CPU: map[string]float64{}, Memory: w.peak}
	for _, p := range w.list {
		before, known := w.cpu[p.Name]
		if d, err := p.CPU(); err == nil && known {
			u.CPU[p.Name] = (d - before).Seconds()
		}
	}
	close(w.quit)
	w.done.Wait()
	w.sample()
	return u
}
