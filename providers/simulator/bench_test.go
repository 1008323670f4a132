package simulator

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
)

const benchBody = `{"senderKey":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","templateCode":"SIM_OK_APPT","senderGroupingKey":"clinic_7f3:wf_12","recipientList":[{"recipientNo":"010%08d","templateParameter":{"환자명":"김하늘","일시":"11/24(화) 14:30","병원명":"미소치과"},"resendParameter":{"isResend":false},"recipientGroupingKey":"%s:kakao"}]}`

// BenchmarkSend is one Alimtalk to one recipient, from the HTTP handler on,
// with latency 0 and an idempotency key.
func BenchmarkSend(b *testing.B) {
	s := New(Config{Open: true, KeepMessages: 100_000})
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		key := fmt.Sprintf("0199f3c2-7f3a-7000-8000-%012d", i)
		r := httptest.NewRequest(http.MethodPost, "/alimtalk/v2.3/appkeys/k/messages", strings.NewReader(fmt.Sprintf(benchBody, 20_000_000+i%10_000_000, key)))
		r.Header.Set("Content-Type", jsonType)
		r.Header.Set("X-Secret-Key", "secret")
		r.Header.Set(idempotencyField, key)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			b.Fatal(w.Code)
		}
	}
	if n := len(s.Violations()); n != 0 {
		b.Fatalf("%d violations", n)
	}
}

// BenchmarkSendOverHTTP is the same over a keep-alive connection, client
// included.
func BenchmarkSendOverHTTP(b *testing.B) {
	s := New(Config{Open: true, KeepMessages: 100_000})
	srv := httptest.NewServer(s)
	defer srv.Close()
	c := srv.Client()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		key := fmt.Sprintf("0199f3c2-7f3a-7000-8000-%012d", i)
		r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, srv.URL+"/alimtalk/v2.3/appkeys/k/messages",
			strings.NewReader(fmt.Sprintf(benchBody, 20_000_000+i%10_000_000, key)))
		if err != nil {
			b.Fatal(err)
		}
		r.Header.Set("Content-Type", jsonType)
		r.Header.Set("X-Secret-Key", "secret")
		r.Header.Set(idempotencyField, key)
		resp, err := c.Do(r)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
}

// BenchmarkKept measures what one accepted message costs in memory.
func BenchmarkKept(b *testing.B) {
	s := New(Config{Open: true, KeepRequests: -1})
	c := &call{app: "k", product: Alimtalk, set: s.set.Load()}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	n := 0
	for ; b.Loop(); n++ {
		d := draft{m: message{
			sender: strings.Repeat("a", 40), template: "APPT", senderGroup: "clinic:wf", recipient: "01012345678",
			key: fmt.Sprintf("0199f3c2-7f3a-7000-8000-%012d:kakao", n), text: strings.Repeat("가", 60),
		}}
		d.plan.report(0, "1000")
		s.accept(c, &batch{drafts: []draft{d}})
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(n), "heap-B/message")
	runtime.KeepAlive(s)
}
