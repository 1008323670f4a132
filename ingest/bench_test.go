package ingest_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/doctorsflow/doctorsflow/ingest"
	"github.com/doctorsflow/doctorsflow/internal/store"
)

// discard is a response that costs nothing to write.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(status int)      { d.status = status }

// rewind is a body that can be sent again.
type rewind struct {
	text string
	at   int
}

func (r *rewind) Close() error { return nil }

func (r *rewind) Read(p []byte) (int, error) {
	n := copy(p, r.text[r.at:])
	if r.at += n; r.at == len(r.text) {
		r.at = 0
		return n, io.EOF
	}
	return n, nil
}

// BenchmarkAccept measures a good call from the handler to the ledger and
// back, without network and Postgres. The calls are of one event, so that the
// ledger of the test does not grow.
func BenchmarkAccept(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprint("callers=", callers), func(b *testing.B) {
			w := newWorld(b, ingest.Config{TenantPerMinute: 1 << 30}, func(h *store.Webhook) { h.RatePerMinute = 1 << 30 })
			path := "/api/webhooks/" + w.hook.ID.String()
			at := time.Now()
			header := w.request(call{id: "evt", at: at}).Header
			var refused atomic.Int64
			b.ReportAllocs()
			b.SetParallelism(callers)
			b.RunParallel(func(pb *testing.PB) {
				r := httptest.NewRequest(http.MethodPost, path, nil)
				r.Header = header
				body := &rewind{text: goodBody}
				res := &discard{header: http.Header{}}
				for pb.Next() {
					clear(res.header)
					r.Body, r.ContentLength = body, int64(len(goodBody))
					w.mux.ServeHTTP(res, r)
					if res.status != http.StatusAccepted {
						refused.Add(1)
					}
				}
			})
			b.StopTimer()
			if n := refused.Load(); n > 0 {
				b.Errorf("%d were refused", n)
			}
			w.stop()
			if n := w.count(b, "commit_calls", ""); n > 0 {
				b.ReportMetric(float64(b.N)/n, "calls/commit")
			}
		})
	}
}

// BenchmarkRefuse measures a call with a bad signature, which anyone can send.
func BenchmarkRefuse(b *testing.B) {
	w := newWorld(b, ingest.Config{Floor: time.Nanosecond}, nil)
	r := w.request(call{signature: "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="})
	body := &rewind{text: goodBody}
	res := &discard{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(res.header)
		r.Body = body
		w.mux.ServeHTTP(res, r)
	}
	if res.status != http.StatusUnauthorized {
		b.Errorf("answered %d", res.status)
	}
}
