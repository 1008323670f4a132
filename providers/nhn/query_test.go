package nhn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/doctorsflow/doctorsflow/providers"
)

// oracle answers queries in the process and keeps them.
type oracle struct {
	queries []url.Values
	paths   []string
	answer  func(path string, q url.Values) string
}

func (a *oracle) RoundTrip(r *http.Request) (*http.Response, error) {
	a.queries = append(a.queries, r.URL.Query())
	a.paths = append(a.paths, r.URL.Path[strings.LastIndex(r.URL.Path, "canaryAppKey1234/")+len("canaryAppKey1234/"):])
	body := a.answer(a.paths[len(a.paths)-1], r.URL.Query())
	return &http.Response{
		StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: r,
	}, nil
}

func (a *oracle) client() *http.Client { return &http.Client{Transport: a} }

const (
	okHead = `{"header":{"isSuccessful":true,"resultCode":0},`
	none   = okHead + `"messageSearchResultResponse":{"messages":[],"totalCount":0}}`
	noSMS  = okHead + `"body":{"pageNum":1,"pageSize":15,"totalCount":0,"data":[]}}`
)

var (
	from = time.Date(2026, 11, 22, 1, 0, 0, 0, time.UTC)
	to   = from.Add(30*time.Minute + 500*time.Millisecond)
)

func TestFindBelievesNoDoubtfulAbsence(t *testing.T) {
	t.Parallel()
	row := func(fields string) string {
		return okHead + `"messageSearchResultResponse":{"messages":[{` + fields + `}],"totalCount":1}}`
	}
	for name, c := range map[string]struct{ alimtalk, sms string }{
		"no payload":         {okHead + `"x":1}`, okHead + `"body":{}}`},
		"null payload":       {okHead + `"messageSearchResultResponse":null}`, okHead + `"body":null}`},
		"nothing said":       {okHead + `"messageSearchResultResponse":{}}`, okHead + `"body":{"data":null}}`},
		"total without rows": {okHead + `"messageSearchResultResponse":{"messages":[],"totalCount":1}}`, okHead + `"body":{"totalCount":1,"data":[]}}`},
		"null, total of one": {okHead + `"messageSearchResultResponse":{"messages":null,"totalCount":1}}`, okHead + `"body":{"totalCount":1,"data":null}}`},
		"row without a key":  {row(`"requestId":"R1","recipientSeq":1`), okHead + `"body":{"totalCount":1,"data":[{"requestId":"R1","recipientSeq":1}]}}`},
		"row without an id":  {row(`"recipientGroupingKey":"` + key + `"`), okHead + `"body":{"totalCount":1,"data":[{"recipientGroupingKey":"` + key + `"}]}}`},
		"refused":            {`{"header":{"isSuccessful":false,"resultCode":-4003}}`, `{"header":{"isSuccessful":false,"resultCode":-4000}}`},
		"not JSON":           {`<html>`, `<html>`},
		"rows not a list":    {okHead + `"messageSearchResultResponse":{"messages":{"a":1},"totalCount":0}}`, okHead + `"body":{"totalCount":0,"data":"none"}}`},
	} {
		a := &oracle{answer: func(string, url.Values) string { return c.alimtalk }}
		s := &oracle{answer: func(string, url.Values) string { return c.sms }}
		for product, gw := range map[string]providers.Gateway{
			"alimtalk": NewAlimtalk(accountAt("http://gateway.test"), a.client()), "sms": NewSMS(accountAt("http://gateway.test"), s.client()),
		} {
			if rs, err := gw.Find(t.Context(), key, from, to); !errors.Is(err, providers.ErrUnavailable) || len(rs) != 0 {
				t.Errorf("%s, %s: %v, %v; want ErrUnavailable", product, name, rs, err)
			}
		}
	}
	a := &oracle{answer: func(string, url.Values) string { return none }}
	if rs, err := NewAlimtalk(accountAt("http://gateway.test"), a.client()).Find(t.Context(), key, from, to); err != nil || len(rs) != 0 {
		t.Errorf("alimtalk: %v, %v; want nothing", rs, err)
	}
	for _, empty := range []string{noSMS, okHead + `"body":{"totalCount":0,"data":null}}`, okHead + `"body":{"totalCount":0,"data":{"resultUpdateList":[]}}}`} {
		s := &oracle{answer: func(string, url.Values) string { return empty }}
		if rs, err := NewSMS(accountAt("http://gateway.test"), s.client()).Find(t.Context(), key, from, to); err != nil || len(rs) != 0 {
			t.Errorf("sms: %v, %v; want nothing", rs, err)
		}
	}
}

func TestFindIsNewestFirstAndSkipsOtherKeys(t *testing.T) {
	t.Parallel()
	a := &oracle{answer: func(string, url.Values) string {
		return okHead + `"messageSearchResultResponse":{"totalCount":4,"messages":[
			{"requestId":"R1","recipientSeq":1,"recipientGroupingKey":"` + key + `","requestDate":"2026-11-22 10:01:00.0","messageStatus":null,"resultCode":null},
			{"requestId":"R2","recipientSeq":1,"recipientGroupingKey":"other:kakao","requestDate":"2026-11-22 10:02:00.0"},
			{"requestId":"R3","recipientSeq":"2","recipientGropuingKey":"` + key + `","requestDate":"2026-11-22 10:03:00.0","receiveDate":"2026-11-22 10:03:07.0","messageStatus":"FAILED","resultCode":3019},
			{"requestId":"R1","recipientSeq":1,"recipientGroupingKey":"` + key + `","requestDate":"2026-11-22 10:01:00.0"}]}}`
	}}
	got, err := NewAlimtalk(accountAt("http://gateway.test"), a.client()).Find(t.Context(), key, from, to)
	if err != nil {
		t.Fatal(err)
	}
	want := []providers.Result{
		{Key: key, RequestID: "R3", Seq: 2, State: providers.Failed, Code: "3019", At: time.Date(2026, 11, 22, 1, 3, 7, 0, time.UTC)},
		{Key: key, RequestID: "R1", Seq: 1, State: providers.Pending, At: time.Date(2026, 11, 22, 1, 1, 0, 0, time.UTC)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("find (-want +got):\n%s", diff)
	}
}

func TestFindAsksBothListsWithRoomForClocks(t *testing.T) {
	t.Parallel()
	s := &oracle{answer: func(path string, _ url.Values) string {
		if path == "sender/sms" {
			return noSMS
		}
		return okHead + `"body":{"totalCount":1,"data":[{"requestId":"R1","mtPr":"1","recipientGroupingKey":"` + key + `","msgStatus":"2"}]}}`
	}}
	got, err := NewSMS(accountAt("http://gateway.test"), s.client()).Find(t.Context(), key, from, to)
	if err != nil || len(got) != 1 || got[0].Seq != 1 || got[0].State != providers.Pending {
		t.Errorf("find: %+v, %v", got, err)
	}
	if diff := cmp.Diff([]string{"sender/sms", "sender/mms"}, s.paths); diff != "" {
		t.Errorf("paths (-want +got):\n%s", diff)
	}
	for _, q := range s.queries {
		if q.Get("startRequestDate") != "2026-11-22 09:50:00" || q.Get("endRequestDate") != "2026-11-22 10:40:01" || q.Get("recipientGroupingKey") != key {
			t.Errorf("query %v", q)
		}
	}
	a := &oracle{answer: func(string, url.Values) string { return none }}
	gw := NewAlimtalk(accountAt("http://gateway.test"), a.client())
	if _, err := gw.Find(t.Context(), key, from.Add(-60*24*time.Hour), to); err != nil {
		t.Fatal(err)
	}
	at := "2026-09-23 09:50"
	for _, q := range a.queries {
		if q.Get("startRequestDate") != at {
			t.Errorf("a window starts at %s; the one before ended at %s", q.Get("startRequestDate"), at)
		}
		at = q.Get("endRequestDate")
	}
	if len(a.queries) != 3 || at != "2026-11-22 10:41" {
		t.Errorf("%d windows up to %s", len(a.queries), at)
	}
}

func TestResultsReadEveryPageAndBothShapes(t *testing.T) {
	t.Parallel()
	const total = 2*resultPage + 3
	rows := func(q url.Values, name string) string {
		n, _ := strconv.Atoi(q.Get("pageNum"))
		var out []string
		for i := (n - 1) * resultPage; i < min(n*resultPage, total); i++ {
			out = append(out, fmt.Sprintf(`{"messageType":"%s","requestId":"%s%d","recipientSeq":1,"resultCode":"1000"}`, name, name, i))
		}
		return "[" + strings.Join(out, ",") + "]"
	}
	for name, answer := range map[string]func(string, url.Values) string{
		"alimtalk": func(_ string, q url.Values) string { return okHead + `"messages":` + rows(q, "K") + `}` },
		"sms flat": func(_ string, q url.Values) string {
			return okHead + `"body":{"totalCount":2003,"data":` + rows(q, q.Get("messageType")) + `}}`
		},
		"sms nested": func(_ string, q url.Values) string {
			return okHead + `"body":{"data":{"resultUpdateList":` + rows(q, q.Get("messageType")) + `}}}`
		},
	} {
		a := &oracle{answer: answer}
		var gw providers.Gateway = NewSMS(accountAt("http://gateway.test"), a.client())
		want := 2 * total // SMS and LMS
		if name == "alimtalk" {
			gw, want = NewAlimtalk(accountAt("http://gateway.test"), a.client()), total
		}
		got, err := gw.Results(t.Context(), from, to)
		if err != nil || len(got) != want {
			t.Errorf("%s: %d results, %v; want %d", name, len(got), err, want)
		}
		ids := map[string]bool{}
		for _, r := range got {
			ids[r.RequestID] = r.State == providers.Delivered
		}
		if len(ids) != want {
			t.Errorf("%s: %d different messages; want %d", name, len(ids), want)
		}
	}
}

func TestResultsOverlookWhatNamesNoMessage(t *testing.T) {
	t.Parallel()
	a := &oracle{answer: func(string, url.Values) string {
		return okHead + `"messages":[{"requestId":"","recipientSeq":1,"resultCode":"3019"},{"requestId":"a b","resultCode":"3019"},
			{"requestId":"R1","recipientSeq":1,"messageStatus":"FAILED","resultCode":"3019\n"},{"requestId":"R2","recipientSeq":1,"resultCode":"3019"}]}`
	}}
	got, err := NewAlimtalk(accountAt("http://gateway.test"), a.client()).Results(t.Context(), from, to)
	if err != nil {
		t.Fatal(err)
	}
	for i := range got {
		got[i].At = time.Time{}
	}
	want := []providers.Result{
		{RequestID: "R1", Seq: 1, State: providers.Unconfirmed, Code: "other"},
		{RequestID: "R2", Seq: 1, State: providers.Failed, Code: "3019"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
}

func TestWindowsThatCannotBeMeantAreRefused(t *testing.T) {
	t.Parallel()
	a := &oracle{answer: func(string, url.Values) string { return none }}
	for _, gw := range []providers.Gateway{NewAlimtalk(accountAt("http://gateway.test"), a.client()), NewSMS(accountAt("http://gateway.test"), a.client())} {
		_, backwards := gw.Find(t.Context(), key, to, from)
		_, zero := gw.Find(t.Context(), key, time.Time{}, to)
		_, long := gw.Results(t.Context(), from, from.Add(24*time.Hour+1))
		for _, err := range []error{backwards, zero, long} {
			if err == nil || errors.Is(err, providers.ErrUnavailable) {
				t.Errorf("%v; want an error that is ours", err)
			}
		}
	}
	if len(a.queries) != 0 {
		t.Errorf("%d queries were made", len(a.queries))
	}
}

func TestADayOfSMSResultsStaysWithinADay(t *testing.T) {
	t.Parallel()
	s := &oracle{answer: func(string, url.Values) string { return noSMS }}
	if _, err := NewSMS(accountAt("http://gateway.test"), s.client()).Results(t.Context(), from.Add(500*time.Millisecond), from.Add(24*time.Hour+500*time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	for _, q := range s.queries {
		if q.Get("startUpdateDate") != "2026-11-22 10:00:00" || q.Get("endUpdateDate") != "2026-11-23 10:00:00" {
			t.Errorf("query %v", q)
		}
	}
}

func TestAGatewayWithoutALastPageIsGivenUp(t *testing.T) {
	t.Parallel()
	full := slices.Repeat([]row{{}}, 10)
	n := 0
	_, err := pages(10, false, func(int) (page, error) { n++; return page{rows: full}, nil })
	if err == nil || n != maxPages {
		t.Errorf("%d pages, %v", n, err)
	}
	failing := errors.New("no")
	if _, err := pages(10, false, func(int) (page, error) { return page{}, failing }); !errors.Is(err, failing) {
		t.Errorf("%v", err)
	}
}

func TestQueriesEndWithTheirContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	gw := gateway(t, "http://127.0.0.1:9", nil)
	if _, err := gw.Find(ctx, key, from, to); !errors.Is(err, context.Canceled) || !errors.Is(err, providers.ErrUnavailable) {
		t.Errorf("find: %v", err)
	}
}
