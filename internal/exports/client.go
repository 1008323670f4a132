// Package exports brings exports of practice software to the API, from the
// clinic's own computer: one file, or whatever is put into a folder. It must
// not know the ledger, and says nothing of a patient in what it logs.
package exports

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/doctorsflow/doctorsflow/internal/appointment"
)

// partRows is how many rows are sent at a time.
const partRows = 500

// ErrKey says that the API key is wrong, or may not do this.
var ErrKey = errors.New("exports: the API refuses the key; it needs the role integration, staff or owner")

// WrongFile says that nothing of a file was taken.
type WrongFile struct{ Problems []appointment.Problem }

func (e *WrongFile) Error() string {
	var all []string
	for _, p := range e.Problems {
		all = append(all, say(p))
	}
	return "nothing of it was taken: " + strings.Join(all, "; ")
}

// Client sends to one clinic's API.
type Client struct {
	// URL is where the API is, without its path.
	URL string
	// Key is an API key of the clinic.
	Key string
	// Options are the source, and how appointments are told apart.
	appointment.TableOptions
	HTTP *http.Client // with its time limit
}

// Rejected is a row that was not taken.
type Rejected struct {
	Line     int
	Cells    []string
	Problems []appointment.Problem
}

// Report is what became of a file.
type Report struct {
	Heading             []string
	Encoding            string
	Ignored             []string // headings that mean nothing
	Accepted, Duplicate int      // rows that said something, and rows that did not
	Rejected            []Rejected
}

// answer is the part of the API's answer that is read.
type answer struct {
	Accepted, Duplicate int
	Rows                []struct {
		Status   string
		Problems []appointment.Problem
	}
}

// Read reads a file as the API does, and sends nothing.
func (c *Client) Read(raw []byte) (Report, error) {
	t, err := c.table(raw)
	if err != nil {
		return Report{}, err
	}
	out := Report{Heading: t.Heading, Encoding: t.Encoding, Ignored: t.Ignored}
	for i, row := range t.Rows(c.TableOptions) {
		if len(row.Problems) > 0 {
			out.Rejected = append(out.Rejected, Rejected{row.Line, t.Records[i], row.Problems})
		}
	}
	return out, nil
}

func (c *Client) table(raw []byte) (*appointment.Table, error) {
	opt := c.TableOptions
	opt.Large = true
	t, problems := appointment.ReadTable(raw, opt)
	if len(problems) > 0 {
		return nil, &WrongFile{problems}
	}
	return t, nil
}

// Send sends a file, part by part. The error is a [*WrongFile], wraps [ErrKey],
// or says that the API was not reached: then the same file may be sent again,
// and what was taken of it changes nothing.
func (c *Client) Send(ctx context.Context, raw []byte) (Report, error) {
	t, err := c.table(raw)
	if err != nil {
		return Report{}, err
	}
	out := Report{Heading: t.Heading, Encoding: t.Encoding, Ignored: t.Ignored}
	for from := 0; from < len(t.Records); from += partRows {
		to := min(from+partRows, len(t.Records))
		a, err := c.part(ctx, t.Heading, t.Records[from:to])
		if err != nil {
			return out, err
		}
		out.Accepted += a.Accepted
		out.Duplicate += a.Duplicate
		for i, r := range a.Rows {
			if r.Status == "rejected" {
				out.Rejected = append(out.Rejected, Rejected{t.Lines[from+i], t.Records[from+i], r.Problems})
			}
		}
	}
	return out, nil
}

func (c *Client) part(ctx context.Context, heading []string, records [][]string) (a answer, err error) {
	var body bytes.Buffer
	w := csv.NewWriter(&body)
	if err := w.WriteAll(append([][]string{heading}, records...)); err != nil {
		return a, fmt.Errorf("exports: write a part: %w", err)
	}
	query := url.Values{}
	if c.Source != "" {
		query.Set("source", c.Source)
	}
	if c.Identify != "" {
		query.Set("identify", c.Identify)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(c.URL, "/")+"/api/appointments/csv?"+query.Encode(), &body)
	if err != nil {
		return a, fmt.Errorf("exports: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+c.Key)
	req.Header.Set("Content-Type", "text/csv; charset=utf-8")
	res, err := c.HTTP.Do(req)
	if err != nil {
		return a, fmt.Errorf("exports: the API was not reached: %w", err)
	}
	defer res.Body.Close()
	said, err := io.ReadAll(io.LimitReader(res.Body, 8<<20))
	switch {
	case err != nil:
		return a, fmt.Errorf("exports: the API's answer broke off: %w", err)
	case res.StatusCode == http.StatusUnauthorized || res.StatusCode == http.StatusForbidden:
		return a, ErrKey
	case res.StatusCode == http.StatusUnprocessableEntity:
		return a, refused(said)
	case res.StatusCode != http.StatusOK:
		return a, fmt.Errorf("exports: the API answered %s; it is sent again", res.Status)
	}
	if err := json.Unmarshal(said, &a); err != nil || len(a.Rows) != len(records) {
		return a, errors.New("exports: this is no answer of the API; check the URL")
	}
	return a, nil
}

func refused(said []byte) error {
	var p struct{ Errors []appointment.Problem }
	if json.Unmarshal(said, &p) != nil || len(p.Errors) == 0 {
		p.Errors = []appointment.Problem{{Code: "refused"}}
	}
	return &WrongFile{p.Errors}
}

// NewHTTP is a client that waits as long as the API may take for one part.
func NewHTTP() *http.Client { return &http.Client{Timeout: 30 * time.Second} }
