package nhn

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/doctorsflow/doctorsflow/providers"
)

var update = flag.Bool("update", false, "rewrite requests and results in testdata")

// exchange plays the responses of a golden file and keeps the requests.
type exchange struct {
	responses []string
	requests  []string
}

func (x *exchange) RoundTrip(r *http.Request) (*http.Response, error) {
	x.requests = append(x.requests, written(r))
	if len(x.requests) > len(x.responses) {
		return nil, errors.New("no response left")
	}
	head, body, _ := strings.Cut(x.responses[len(x.requests)-1], "\n\n")
	status, err := strconv.Atoi(strings.TrimSpace(head))
	if err != nil {
		return nil, errors.New("a response begins with its status")
	}
	body = strings.TrimSuffix(body, "\n")
	return &http.Response{
		StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: r,
	}, nil
}

// written is a request as the golden files have it.
func written(r *http.Request) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n", r.Method, r.URL.Path)
	q := r.URL.Query()
	for _, k := range slices.Sorted(maps.Keys(q)) {
		fmt.Fprintf(&b, "  %s=%s\n", k, q.Get(k))
	}
	for _, k := range slices.Sorted(maps.Keys(r.Header)) {
		fmt.Fprintf(&b, "%s: %s\n", k, r.Header.Get(k))
	}
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return err.Error()
		}
		fmt.Fprintf(&b, "\n%s", body)
	}
	return b.String()
}

// perform does what a golden file's first line says: a product and a call.
func perform(t *testing.T, call string, hc *http.Client) string {
	acct := accountAt("https://gateway.test")
	m := message(t)
	var gw providers.Gateway = NewSMS(acct, hc)
	words := strings.Fields(call)
	if len(words) < 2 {
		t.Fatalf("the comment of a golden file is a product and a call, such as \"sms send\"; it is %q", call)
	}
	if words[0] == "alimtalk" {
		acct.Sender = strings.Repeat("a", 40)
		gw = NewAlimtalk(acct, hc)
	} else {
		m.Key = strings.TrimSuffix(key, "kakao") + "sms"
	}
	if len(words) > 2 && words[2] == "long" {
		m.Body = strings.Repeat(m.Body+"\n", 2)
	}
	var rs []providers.Result
	var err error
	switch words[1] {
	case "send":
		receipt, err := gw.Send(t.Context(), m)
		if e, ok := errors.AsType[*providers.SendError](err); ok {
			return fmt.Sprintf("%s, scope %s: %v\n", e.Kind, scopes[e.Scope], e)
		}
		return fmt.Sprintf("accepted %s %d\n", receipt.RequestID, receipt.Seq)
	case "find":
		rs, err = gw.Find(t.Context(), m.Key, from, to)
	default:
		rs, err = gw.Results(t.Context(), from, to)
	}
	var b strings.Builder
	if err != nil {
		fmt.Fprintln(&b, err)
	}
	states := [...]string{"pending", "delivered", "failed", "unconfirmed"}
	for _, r := range rs {
		fmt.Fprintf(&b, "%s %d key=%s %s code=%s %s\n", r.RequestID, r.Seq, r.Key, states[r.State], r.Code, r.At.In(kst).Format(time.RFC3339))
	}
	return b.String()
}

func TestGoldenExchanges(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			x := &exchange{}
			for _, part := range a.Files {
				if part.Name == "response" {
					x.responses = append(x.responses, string(part.Data))
				}
			}
			result := perform(t, string(a.Comment), &http.Client{Transport: x})
			got := &txtar.Archive{Comment: a.Comment}
			for i, r := range x.requests {
				got.Files = append(got.Files, txtar.File{Name: "request", Data: []byte(r)})
				if i < len(x.responses) {
					got.Files = append(got.Files, txtar.File{Name: "response", Data: []byte(x.responses[i])})
				}
			}
			got.Files = append(got.Files, txtar.File{Name: "result", Data: []byte(result)})
			if *update {
				if err := os.WriteFile(file, txtar.Format(got), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(want, txtar.Format(got)) {
				t.Errorf("exchange (-want +got):\n%s", cmp.Diff(string(want), string(txtar.Format(got))))
			}
		})
	}
}
