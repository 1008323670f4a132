package main

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/ingest"
	"github.com/doctorsflow/doctorsflow/internal/storetest"
)

// canaryWord is in every hostile input, and must be in no answer.
const canaryWord = "canary7731"

// hostility is what is thrown at one serving process.
type hostility struct {
	t    *testing.T
	addr string
	sent map[string]int // by kind
}

// throw sends these bytes on a connection of their own and returns the status
// of the answer, 0 if the connection was closed without one. Every answer is a
// refusal of the client's, whole, and repeats nothing.
func (h *hostility) throw(kind, name, raw string) int {
	h.t.Helper()
	h.sent[kind]++
	c, err := net.Dial("tcp", h.addr)
	if err != nil {
		h.t.Fatalf("%s %s: the process takes no connection: %v", kind, name, err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	// What is cut off may be answered and closed before all of it is written.
	go func() { _, _ = io.WriteString(c, raw) }()
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		var late net.Error
		if errors.As(err, &late) && late.Timeout() {
			h.t.Errorf("%s %s: no answer", kind, name)
		}
		return 0
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	// net/http resets the connection on which a head is too large.
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		h.t.Errorf("%s %s: half an answer: %v", kind, name, err)
	}
	if res.StatusCode < 400 || res.StatusCode > 499 {
		h.t.Errorf("%s %s: %d %.300s", kind, name, res.StatusCode, body)
	}
	if bytes.Contains(body, []byte(canaryWord)) || strings.Contains(fmt.Sprint(res.Header), canaryWord) {
		h.t.Errorf("%s %s: the answer repeats the input: %v %.300s", kind, name, res.Header, body)
	}
	return res.StatusCode
}

// hostileTexts are what stands where a value was expected.
var hostileTexts = []string{
	"", " ", "\x00", "\xff\xfe", "\xc0\x80", "\u202e", "💩", "null", "undefined", "NaN", "-1", "0", "1e999", "9223372036854775808",
	"../../../etc/passwd", "..%2f..%2f", "%00", "%ff", "%zz", "' OR 1=1--", "'; DROP TABLE steps;--", "$1", "{{7*7}}", "${jndi:ldap://x}", "<script>",
	"00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff", strings.Repeat("A", 3000), "\r\nX-Injected: 1", "[]", "{}",
}

// hostileBodies are documents that a decision must not take.
var hostileBodies = []string{
	"", "{", "}", "null", "[]", "7", `"text"`, "{}{}", "{}x", "\ufeff{}", "{'reason':'x'}", `{"reason":NaN}`, `{/*c*/"reason":"x"}`, `{"reason":"x",}`,
	`{"reason":"x","reason":"y"}`, `{"reason":"x","Reason":"y"}`, `{"reason":"\ud800"}`, "{\"reason\":\"\xff\"}", `{"reason":"\u0000"}`, `{"reason":1e400}`,
	`{"tenant_id":"x","reason":"y"}`, `{"role":"owner"}`, `{"__proto__":{}}`, strings.Repeat("[", 33), strings.Repeat(`{"a":`, 10_001), strings.Repeat("[],", 5000),
	`{"reason":"` + strings.Repeat("x", 300<<10) + `"}`, `{"mode":{"$ne":null}}`, `{"mode":["resend"]}`, `{"extend_minutes":-1,"mode":"resend"}`, `{"extend_minutes":1e3,"mode":"resend"}`,
	`{"reason":"` + canaryWord + ` 010-1234-5678"}`, `{"mode":"` + canaryWord + `"}`, `{"` + canaryWord + `":1}`, `{"accept_duplicate":"true"}`, "\x00", "\x1f\x8b\x08", "<x/>", "a=b",
}

// TestHostileRequestsLeaveNothingBehind throws at the whole program whatever a
// stranger, a broken producer or a clinic's own key may send, and looks
// afterwards for what it left.
func TestHostileRequestsLeaveNothingBehind(t *testing.T) {
	data, err := dataDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeData(t, data) })
	p := start(t, data, "--log-level", "debug", "--rate-per-address", "1000000", "--rate-per-caller", "1000000", "--rate-per-tenant", "1000000")
	hook := applied(t, strings.ReplaceAll(canaryClinic, "patients:", ""), "--data", data)
	key := strings.TrimSpace(command(t, "tenant", "key", "canary", "--data", data, "--role", "owner"))
	where, err := readRunning(data)
	if err != nil {
		t.Fatal(err)
	}
	super := superuser(t, data, where.APIURL)
	before := everyRow(t, super)

	h := &hostility{t: t, addr: strings.TrimPrefix(p.http, "http://"), sent: map[string]int{}}
	h.queries(key)
	h.paths(key)
	h.credentials()
	h.bodies(key)
	h.signatures(hook)
	h.connections()

	total := 0
	for _, n := range h.sent {
		total += n
	}
	t.Logf("%d hostile requests: %v", total, h.sent)
	if total < 200 {
		t.Errorf("only %d", total)
	}
	// Some are recorded as refused a moment later.
	p.stop()
	if log := p.log.String(); strings.Contains(log, "panic") || strings.Contains(log, `"level":"ERROR"`) || strings.Contains(log, canaryWord) {
		t.Errorf("logged:\n%s", log)
	}
	p = start(t, data)
	where, err = readRunning(data)
	if err != nil {
		t.Fatal(err)
	}
	super = superuser(t, data, where.APIURL)
	for table, rows := range everyRow(t, super) {
		if rows != before[table] {
			t.Errorf("table %s was changed: %s, was %s", table, rows, before[table])
		}
	}
	var accepted int
	super.Scan(t, `SELECT count(*) FROM webhook_executions WHERE response_status < 400 OR trigger_id IS NOT NULL`, nil, &accepted)
	if accepted != 0 {
		t.Errorf("%d hostile calls were accepted", accepted)
	}
	if status, _ := hook.post(t.Context(), p.http, "good", visit("P-1", "010-0000-0001")); status != http.StatusAccepted {
		t.Errorf("a good call after it all: %d", status)
	}
}

// moving are the tables that a process moves by itself: a webhook's history of
// what was refused, when keys were used and accounts were asked, how far the
// sealer and the streams came.
var moving = []string{"webhook_executions", "api_keys", "provider_accounts", "audit_seals", "stream_watermarks", "platform", "sweeps", "message_stats", "message_stat_days"}

// everyRow is a fingerprint of each table that only an accepted request moves.
func everyRow(t *testing.T, super storetest.URLs) map[string]string {
	t.Helper()
	var tables string
	super.Scan(t, `SELECT string_agg(c.relname, ' ') FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public' AND c.relkind = 'r'`, nil, &tables)
	prints := map[string]string{}
	for table := range strings.FieldsSeq(tables) {
		if slices.Contains(moving, table) {
			continue
		}
		var rows string
		super.Scan(t, `SELECT count(*) || ' rows, ' || md5(coalesce(string_agg(r::text, ',' ORDER BY r::text), '')) FROM `+table+` r`, nil, &rows)
		prints[table] = rows
	}
	return prints
}

func request(method, target, body string, headers ...string) string {
	r := method + " " + target + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
	if body != "" || method == "POST" {
		r += fmt.Sprintf("Content-Length: %d\r\n", len(body))
	}
	for _, header := range headers {
		r += header + "\r\n"
	}
	return r + "\r\n" + body
}

// apiLists are the routes that read.
var apiLists = []string{"/api/message-logs", "/api/workflows/executions", "/api/parked-steps", "/api/audit-log"}

func (h *hostility) queries(key string) {
	for _, path := range apiLists {
		for _, name := range []string{"limit", "cursor", "tenant_id", "x" + canaryWord} {
			for _, text := range hostileTexts {
				// A space would end the target, and 0 or nothing is tried below.
				target := path + "?" + url.QueryEscape(name) + "=" + url.QueryEscape(text+canaryWord)
				h.throw("query", target, request("GET", target, "", "Authorization: Bearer "+key))
			}
		}
		for _, query := range []string{"limit=0", "limit=201", "limit=1&limit=2", "limit=", "%", "%zz=1", "a;b", "=", "limit=1%00", strings.Repeat("a=b&", 1200)} {
			h.throw("query", path+"?"+query, request("GET", path+"?"+query, "", "Authorization: Bearer "+key))
		}
		h.throw("query", path+" with a body", request("GET", path, "{}", "Authorization: Bearer "+key))
	}
}

func (h *hostility) paths(key string) {
	for _, text := range hostileTexts {
		for _, route := range []string{"/api/parked-steps/%s/retry", "/api/parked-steps/%s/drop", "/api/%s", "/%s"} {
			target := fmt.Sprintf(route, url.PathEscape(text+canaryWord))
			h.throw("path", target, request("POST", target, `{"reason":"x"}`, "Content-Type: application/json", "Authorization: Bearer "+key))
		}
	}
	for _, target := range []string{
		"//api//message-logs", "/api/../api/message-logs", "/api/%2e%2e/message-logs", "/api/message-logs;a=b", "/api/message-logs%00", "/api/message-logs/", "/API/message-logs",
		"/api/problems", "/problems/", "*", "/" + strings.Repeat("a/", 3000), "http://evil.example/api/message-logs/x", "/debug/pprof/", "/.git/config", "/api/webhooks/", "/api/reports/x",
	} {
		h.throw("path", target, request("POST", target, "", "Authorization: Bearer "+key))
	}
	for _, method := range []string{"TRACE", "CONNECT", "PATCH", "DELETE", "PUT", "OPTIONS", "PROPFIND", strings.ToUpper(canaryWord)} {
		h.throw("path", method, request(method, "/api/message-logs", "", "Authorization: Bearer "+key))
	}
}

func (h *hostility) credentials() {
	none := "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0."
	for _, value := range append([]string{
		"Bearer", "Bearer ", "Basic YTpi", "Bearer " + none, "Bearer dfk_", "Bearer dfk_" + strings.Repeat("0", 43), "Bearer dfk_" + strings.Repeat("0", 9000),
		"bearer\tdfk_x", "Bearer a, Bearer b", "Negotiate", "Bearer " + strings.Repeat(".", 2000), "Bearer ..", "Bearer e30.e30.e30",
	}, hostileTexts...) {
		if strings.ContainsAny(value, "\r\n\x00") {
			continue
		}
		h.throw("credential", value, request("GET", "/api/message-logs", "", "Authorization: "+value))
	}
	for _, headers := range [][]string{
		{"Authorization: Bearer a", "Authorization: Bearer b"},
		{"X-Tenant-Id: x"},
		{"X-User-Id: x"},
		{"X-Forwarded-For: 127.0.0.1"},
		{"Cookie: session=x"},
		{"X-HTTP-Method-Override: GET"},
		{"Proxy-Authorization: Bearer x"},
		{"X-Original-URL: /api/message-logs"},
	} {
		h.throw("credential", headers[0], request("GET", "/api/message-logs", "", headers...))
	}
	for _, path := range append(slices.Clone(apiLists), "/api/parked-steps/"+uuid.NewString()+"/drop") {
		method := "GET"
		if strings.HasSuffix(path, "drop") {
			method = "POST"
		}
		if got := h.throw("credential", "none at "+path, request(method, path, "")); got != http.StatusUnauthorized {
			h.t.Errorf("%s without a credential: %d", path, got)
		}
	}
}

func (h *hostility) bodies(key string) {
	for _, what := range []string{"retry", "drop"} {
		target := "/api/parked-steps/" + uuid.NewString() + "/" + what
		for _, body := range hostileBodies {
			h.throw("body", what+" "+body[:min(len(body), 40)], request("POST", target, body, "Content-Type: application/json", "Authorization: Bearer "+key))
		}
		for _, header := range []string{
			"Content-Type: text/plain", "Content-Type: application/json; charset=euc-kr", "Content-Type: application/xml", "X: no type", "Content-Type: multipart/form-data; boundary=x",
			"Content-Type: application/json\r\nContent-Encoding: gzip", "Content-Type: application/json\r\nContent-Type: text/plain", "Content-Type: application/json\r\nIdempotency-Key: a\r\nIdempotency-Key: b",
		} {
			h.throw("body", header, request("POST", target, `{"reason":"x"}`, header, "Authorization: Bearer "+key))
		}
	}
}

// signatures calls the webhook with a signature that is wrong, and with a good
// one over a body that is no event.
func (h *hostility) signatures(hook hooked) {
	path := hook.url[strings.Index(hook.url, "/api/"):]
	signed := func(id string, secret, body []byte) []string {
		r, err := http.NewRequest(http.MethodPost, "http://x", nil)
		if err != nil {
			h.t.Fatal(err)
		}
		sign(r, secret, id, body)
		return []string{
			"Content-Type: application/json", "webhook-id: " + id, "webhook-timestamp: " + r.Header.Get("webhook-timestamp"), "webhook-signature: " + r.Header.Get("webhook-signature"),
		}
	}
	event := visit("P-"+canaryWord, "010-0000-0002")
	for _, body := range hostileBodies {
		h.throw("signed body", body[:min(len(body), 40)], request("POST", path, body, signed("evt"+uuid.NewString(), hook.secret, []byte(body))...))
	}
	for n, text := range hostileTexts {
		if strings.ContainsAny(text, "\r\n\x00") {
			continue
		}
		for at, name := range []string{"", "webhook-id: ", "webhook-timestamp: ", "webhook-signature: v1,"} {
			headers := signed(fmt.Sprint("evt", n), hook.secret, event)
			if at == 0 {
				continue
			}
			headers[at] = name + text
			if got := h.throw("signature", headers[at], request("POST", path, string(event), headers...)); got != http.StatusUnauthorized {
				h.t.Errorf("%s: %d", headers[at], got)
			}
		}
	}
	good := signed("good", hook.secret, event)
	for name, change := range map[string]func([]string) (target string, headers []string, body string){
		"another secret": func([]string) (string, []string, string) {
			return path, signed("good", ingest.NewSecret(), event), string(event)
		},
		"another body": func(hs []string) (string, []string, string) { return path, hs, string(event) + " " },
		"another webhook": func(hs []string) (string, []string, string) {
			return "/api/webhooks/" + uuid.NewString(), hs, string(event)
		},
		"secret in the query": func(hs []string) (string, []string, string) {
			return path + "?secret=" + canaryWord, hs, string(event)
		},
		"hex": func(hs []string) (string, []string, string) {
			return path, append(hs[:3:3], "webhook-signature: v1,"+hex.EncodeToString(hook.secret)), string(event)
		},
		"twice": func(hs []string) (string, []string, string) { return path, append(hs, hs[3]), string(event) },
		"upper case id": func(hs []string) (string, []string, string) {
			return "/api/webhooks/" + strings.ToUpper(path[len("/api/webhooks/"):]), hs, string(event)
		},
	} {
		target, headers, body := change(slices.Clone(good))
		h.throw("signature", name, request("POST", target, body, headers...))
	}
}

// connections sends what is not a request. net/http answers 501 to a transfer
// coding that it does not know (RFC 9112 §6.1), which is tried in ingest, and
// 505 to another version of HTTP.
func (h *hostility) connections() {
	for _, raw := range []string{
		"\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET / HTTP/1.1\r\nHost: x\r\nX : a\r\n\r\n", "GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n", "GET / HTTP/1.1\r\nHost: x\r\nX: \x00\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("a", 21<<10) + "\r\n\r\n", "GET / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X: a\r\n", 200) + "\r\n",
		"POST /api/webhooks/x HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
		"GET /" + strings.Repeat("a", 5000) + " HTTP/1.1\r\nHost: x\r\n\r\n", "GET http://[::1 HTTP/1.1\r\nHost: x\r\n\r\n", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "{}\r\n\r\n",
	} {
		h.throw("connection", raw[:min(len(raw), 40)], raw)
	}
}
