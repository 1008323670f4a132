package nhn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/doctorsflow/doctorsflow/providers"
)

const (
	// slack widens a search by key: our clock and NHN's differ, and a message
	// that is not found may be sent again. The key makes width harmless.
	slack = 10 * time.Minute
	// searchSpan is the most that one list query asks for. NHN allows 30 days
	// at Alimtalk and "a month" at SMS, which in February is 28 days.
	searchSpan = 27 * 24 * time.Hour
	// listPage keeps a page of messages with their texts well under 1 MiB;
	// resultPage is NHN's maximum, for results, which carry none.
	listPage   = 100
	resultPage = 1000
	// maxPages stops a gateway that has always one more page.
	maxPages = 1000
)

// errUnreadable is the cause where a query's answer has not the documented
// shape. Nothing may be concluded from it, least of all that there is nothing.
var errUnreadable = errors.New("the answer has not the documented shape")

// get asks a query and decodes its answer into v, which embeds [envelope].
func (c *client) get(ctx context.Context, path string, q url.Values, v interface{ head() *header }) error {
	u := c.base.JoinPath(path)
	u.RawQuery = strings.ReplaceAll(q.Encode(), "+", "%20") // as the guides write spaces
	w := &wire{}
	req := (&http.Request{
		Method: http.MethodGet, URL: u, Host: u.Host,
		Header: http.Header{"Content-Type": contentType, "User-Agent": userAgent, "X-Secret-Key": c.secret},
		Proto:  "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(w.trace(ctx))
	resp, err := c.hc.Do(req)
	if err != nil {
		return cause(err)
	}
	a, err := readAnswer(resp)
	if err != nil {
		return cause(err)
	}
	defer a.release()
	if a.status < 200 || a.status > 299 {
		return fmt.Errorf("HTTP status %d", a.status)
	}
	if json.Unmarshal(a.body.Bytes(), v) != nil {
		return errUnreadable
	}
	h := v.head()
	if h == nil || h.OK == nil {
		return errUnreadable
	}
	if !*h.OK || h.Code.n != 0 {
		return fmt.Errorf("refused with code %d", h.Code.n)
	}
	return nil
}

// page is one page of messages; total is 0 where the answer does not say.
type page struct {
	rows  []row
	total int
}

// row is one message in an answer to a query, in the names of both products.
type row struct {
	RequestID word   `json:"requestId"`
	Seq       number `json:"recipientSeq"`
	OldSeq    number `json:"mtPr"` // SMS until v2, and in samples of v3
	Key       word   `json:"recipientGroupingKey"`
	TypoKey   word   `json:"recipientGropuingKey"` // as SMS's webhook sample has it

	Code    word `json:"resultCode"`
	Status  word `json:"messageStatus"` // Alimtalk
	Message word `json:"msgStatus"`     // SMS
	Resend  word `json:"resendStatus"`  // Alimtalk

	RequestDate word `json:"requestDate"`
	ReceiveDate word `json:"receiveDate"` // Alimtalk
	ResultDate  word `json:"resultDate"`  // SMS
	UpdateDate  word `json:"updateDate"`  // SMS
}

func (r *row) key() string {
	if r.Key != "" {
		return string(r.Key)
	}
	return string(r.TypoKey)
}

// reading is how one product's rows are understood.
type reading struct {
	state func(*row) providers.State
	codes reports
}

// result is the row as the port has it.
func (r *row) result(read reading) (providers.Result, bool) {
	seq := r.Seq
	if !seq.set {
		seq = r.OldSeq
	}
	if !r.RequestID.plain(maxID) || seq.n < 0 {
		return providers.Result{}, false
	}
	if !seq.set {
		seq.n = 1
	}
	code := string(r.Code)
	if code != "" && !r.Code.plain(maxCode) {
		code = "other"
	}
	return providers.Result{
		Key: r.key(), RequestID: string(r.RequestID), Seq: seq.n, State: read.state(r), Scope: read.codes[string(r.Code)].scope, Code: code,
		At: firstTime(r.ReceiveDate, r.ResultDate, r.UpdateDate, r.RequestDate),
	}, true
}

// pages calls ask for page 1, 2, … until one is not full. With exact set, it is
// an error if there are fewer rows than the answer counts.
func pages(size int, exact bool, ask func(page int) (page, error)) ([]row, error) {
	var all []row
	for n := 1; n <= maxPages; n++ {
		p, err := ask(n)
		if err != nil {
			return nil, err
		}
		all = append(all, p.rows...)
		if len(p.rows) == size || len(p.rows) > 0 && len(all) < p.total {
			continue
		}
		if exact && len(all) < p.total {
			return nil, errUnreadable
		}
		return all, nil
	}
	return nil, errors.New("the gateway has no last page")
}

// paging adds a page's number and size to a query.
func paging(q url.Values, n, size int) {
	q.Set("pageNum", strconv.Itoa(n))
	q.Set("pageSize", strconv.Itoa(size))
}

// found turns rows into results for one key, newest first. A row that does not
// say its key, or has no usable id, spoils the whole answer: it might be the
// message that is looked for.
func found(rows []row, key string, read reading) ([]providers.Result, error) {
	type dated struct {
		providers.Result
		asked time.Time
	}
	var ds []dated
	for i := range rows {
		r := &rows[i]
		res, ok := r.result(read)
		if !ok || res.Key == "" {
			return nil, errUnreadable
		}
		same := func(d dated) bool { return d.RequestID == res.RequestID && d.Seq == res.Seq }
		if res.Key == key && !slices.ContainsFunc(ds, same) {
			ds = append(ds, dated{res, firstTime(r.RequestDate)})
		}
	}
	slices.SortStableFunc(ds, func(a, b dated) int { return b.asked.Compare(a.asked) })
	var out []providers.Result
	for _, d := range ds {
		out = append(out, d.Result)
	}
	return out, nil
}

// changed turns rows of message-results into results. A row without a usable id
// is left out: it can name no message, and must not hold up the others.
func changed(rows []row, read reading) []providers.Result {
	out := make([]providers.Result, 0, len(rows))
	for i := range rows {
		if res, ok := rows[i].result(read); ok {
			out = append(out, res)
		}
	}
	return out
}

// checkWindow reports a window that no caller can mean.
func checkWindow(from, to time.Time, limit time.Duration) error {
	switch {
	case from.IsZero() || to.IsZero() || to.Before(from):
		return errors.New("nhn: the window ends before it starts; ask for one that does not")
	case limit > 0 && to.Sub(from) > limit:
		return fmt.Errorf("nhn: the window is longer than %v; ask for shorter ones", limit)
	}
	return nil
}

// unavailable wraps the cause of a failed query.
func unavailable(what string, err error) error {
	return fmt.Errorf("nhn: %s: %w: %w", what, providers.ErrUnavailable, err)
}

// listed is a page of rows that may be empty only where the total agrees.
func listed(rows []row, total number) (page, error) {
	if rows == nil && !total.set {
		return page{}, errUnreadable
	}
	return page{rows: rows, total: total.n}, nil
}
