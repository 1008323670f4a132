package ingest_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/doctorsflow/doctorsflow/ingest"
)

// serve starts a real server that waits for a body as long as patience lasts.
func (w *world) serve(t *testing.T, patience time.Duration) string {
	t.Helper()
	s := httptest.NewUnstartedServer(w.mux)
	s.Config.ReadHeaderTimeout, s.Config.ReadTimeout = 20*time.Second, patience
	s.Config.MaxHeaderBytes = 16 << 10
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// head is the request line and the headers of a good call with the given body,
// without any that say how long it is.
func (w *world) head(body string) string {
	now := time.Now()
	return "POST /api/webhooks/" + w.hook.ID.String() + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" +
		"webhook-id: raw\r\nwebhook-timestamp: " + strconv.FormatInt(now.Unix(), 10) + "\r\n" +
		"webhook-signature: " + sign(w.hook.Secrets[0], "raw", now, body) + "\r\n"
}

func chunked(body string) string { return fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body) }

func TestNoRequestIsSmuggledBehindAnother(t *testing.T) {
	t.Parallel()
	length := "Content-Length: " + strconv.Itoa(len(goodBody)) + "\r\n"
	const te = "Transfer-Encoding: chunked\r\n"
	const smuggled = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
	other := strings.Replace(goodBody, "6789", "6780", 1)
	tests := []struct {
		name, raw string // after the good head
		statuses  []int  // then the connection is closed
		kept      int
	}{
		{"length_alone_keeps_the_connection", length + "\r\n" + goodBody + smuggled + "BROKEN\r\n\r\n", []int{202, 404, 400}, 1},
		{"chunked", te + "\r\n" + chunked(goodBody) + smuggled, []int{202}, 1},
		{"length_and_chunked", length + te + "\r\n" + chunked(goodBody) + smuggled, []int{202}, 1},
		{"chunked_and_length", te + "Content-Length: 3\r\n\r\n" + chunked(goodBody) + smuggled, []int{202}, 1},
		{"length_of_the_signed_body_over_chunks_of_another", length + te + "\r\n" + chunked(other) + smuggled, []int{401}, 0},
		{"two_lengths", length + "Content-Length: 3\r\n\r\n" + goodBody + smuggled, []int{400}, 0},
		{"two_lengths_in_one", "Content-Length: 3, 3\r\n\r\n" + goodBody + smuggled, []int{400}, 0},
		{"length_with_sign", "Content-Length: +3\r\n\r\n" + goodBody + smuggled, []int{400}, 0},
		{"xchunked", "Transfer-Encoding: xchunked\r\n\r\n" + goodBody + smuggled, []int{501}, 0},
		{"chunked_twice", te + te + "\r\n" + chunked(goodBody) + smuggled, []int{501}, 0},
		{"chunked_and_identity", "Transfer-Encoding: chunked, identity\r\n\r\n" + chunked(goodBody) + smuggled, []int{501}, 0},
		{"space_before_colon", "Transfer-Encoding : chunked\r\n\r\n" + chunked(goodBody) + smuggled, []int{400}, 0},
		{"broken_chunk", te + "\r\nzz\r\n" + goodBody + "\r\n0\r\n\r\n" + smuggled, []int{400}, 0},
		{"bare_lf_in_chunk", te + "\r\n" + strings.ReplaceAll(chunked(goodBody), "\r\n", "\n") + smuggled, []int{400}, 0},
		{"endless_chunks", te + "\r\n" + strings.Repeat("1000\r\n"+strings.Repeat(" ", 0x1000)+"\r\n", 40), []int{413}, 0},
		{"length_says_too_much", "Content-Length: 70000\r\n\r\n" + goodBody + smuggled, []int{413}, 0},
		{"body_never_ends", "Content-Length: 600\r\n\r\n" + goodBody, []int{408}, 0},
		{"length_says_less", "Content-Length: 10\r\n\r\n" + goodBody + "\r\n\r\n", []int{401, 400}, 0},
		{"two_ids", "webhook-id: other\r\n" + length + "\r\n" + goodBody + smuggled, []int{400}, 0},
		{"signature_twice", "webhook-signature: v1,x\r\n" + length + "\r\n" + goodBody + smuggled, []int{400}, 0},
		{"huge_header", "X-A: " + strings.Repeat("a", 21<<10) + "\r\n" + length + "\r\n" + goodBody, []int{431}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, ingest.Config{}, nil)
			patience := 20 * time.Second
			if tt.statuses[0] == http.StatusRequestTimeout {
				patience = 200 * time.Millisecond
			}
			conn, err := net.Dial("tcp", w.serve(t, patience))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(15 * time.Second))
			go func() { _, _ = io.WriteString(conn, w.head(goodBody)+tt.raw) }() // a server that closes early breaks the pipe
			in := bufio.NewReader(conn)
			var got []int
			for {
				res, err := http.ReadResponse(in, &http.Request{Method: http.MethodPost})
				if err != nil {
					if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
						t.Error("the connection stayed open")
					}
					break
				}
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
				got = append(got, res.StatusCode)
			}
			if fmt.Sprint(got) != fmt.Sprint(tt.statuses) {
				t.Errorf("answers %v, want %v", got, tt.statuses)
			}
			w.stop()
			if len(w.accepts) != tt.kept {
				t.Errorf("kept %d, want %d", len(w.accepts), tt.kept)
			}
		})
	}
}

func TestConcurrentCallersOverTCP(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ingest.Config{}, nil)
	url := "http://" + w.serve(t, time.Minute) + "/api/webhooks/" + w.hook.ID.String()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}
	defer client.CloseIdleConnections()
	seen := make(chan string, 160)
	done := make(chan struct{})
	for range 16 {
		go func() {
			defer func() { done <- struct{}{} }()
			for range 10 {
				r := w.request(call{})
				req, err := http.NewRequest(http.MethodPost, url, r.Body)
				if err != nil {
					t.Error(err)
					return
				}
				req.Header = r.Header
				req.ContentLength = r.ContentLength
				res, err := client.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				b, _ := io.ReadAll(res.Body)
				_ = res.Body.Close()
				if res.StatusCode != 202 {
					t.Errorf("answered %d %s", res.StatusCode, b)
				}
				seen <- string(b)
			}
		}()
	}
	for range 16 {
		<-done
	}
	close(seen)
	ids := map[string]bool{}
	for id := range seen {
		ids[id] = true
	}
	if w.stop(); len(ids) != 160 || len(w.accepts) != 160 || len(w.events) != 160 {
		t.Errorf("%d different answers, kept %d, published %d", len(ids), len(w.accepts), len(w.events))
	}
}
