package nhn

import (
	"context"
	"encoding/json"
	"net/url"
	"time"

	"github.com/doctorsflow/doctorsflow/providers"
)

// Results implements [providers.Gateway]. It asks for SMS and for LMS.
func (s *SMS) Results(ctx context.Context, from, to time.Time) ([]providers.Result, error) {
	const day = 24 * time.Hour
	if err := checkWindow(from, to, day); err != nil {
		return nil, err
	}
	if s.c.err != nil {
		return nil, unavailable("sms results", s.c.err)
	}
	w := newWindow(from, to, bySecond)
	if w.to.Sub(w.from) > day {
		w.to = w.from.Add(day) // rounding must not cross NHN's limit; callers overlap their windows
	}
	var out []providers.Result
	for _, kind := range []string{"SMS", "LMS"} {
		q := url.Values{"startUpdateDate": {w.start()}, "endUpdateDate": {w.end()}, "messageType": {kind}}
		rows, err := pages(resultPage, false, func(n int) (page, error) {
			paging(q, n, resultPage)
			p, _, err := s.list(ctx, "message-results", q)
			return p, err
		})
		if err != nil {
			return nil, unavailable("sms results", err)
		}
		out = append(out, changed(rows, smsReading)...)
	}
	return out, nil
}

// list asks one page. NHN's guide shows body.data as a list in its samples and
// as an object with resultUpdateList in one table: both are read. known is
// false where there is neither.
func (s *SMS) list(ctx context.Context, path string, q url.Values) (p page, known bool, err error) {
	var v struct {
		envelope
		Body struct {
			Total number          `json:"totalCount"`
			Data  json.RawMessage `json:"data"`
		} `json:"body"`
	}
	if err := s.c.get(ctx, path, q, &v); err != nil {
		return page{}, false, err
	}
	rows, known, err := smsRows(v.Body.Data)
	if err != nil {
		return page{}, false, err
	}
	if !known {
		return page{total: v.Body.Total.n}, v.Body.Total.set && v.Body.Total.n == 0, nil
	}
	p, err = listed(rows, v.Body.Total)
	return p, true, err
}

func smsRows(b json.RawMessage) (rows []row, known bool, err error) {
	if len(b) == 0 || string(b) == "null" {
		return nil, false, nil
	}
	if b[0] == '[' {
		err = json.Unmarshal(b, &rows)
	} else {
		var v struct {
			Rows *[]row `json:"resultUpdateList"`
		}
		if err = json.Unmarshal(b, &v); err == nil && v.Rows == nil {
			return nil, false, nil
		}
		if v.Rows != nil {
			rows = *v.Rows
		}
	}
	if err != nil {
		return nil, false, errUnreadable
	}
	return rows, true, nil
}

// How the rows of this product are understood.
var smsReading = reading{smsState, smsReports}

// smsState reads one message's result. msgStatus is absent from
// message-results; there the code decides alone.
func smsState(r *row) providers.State {
	switch r.Message {
	case "1", "2", "7": // requested, processing, held back until the ad hours
		return providers.Pending
	case "5": // the duplicate block suppressed it for its twin's sake
		return providers.Unconfirmed
	}
	failed := r.Message == "0" || r.Message == "4" || r.Message == "6"
	if r.Code == "" {
		switch {
		case failed:
			return providers.Failed
		case r.Message == "3":
			return providers.Delivered
		}
		return providers.Pending
	}
	rep, known := smsReports[string(r.Code)]
	switch {
	case !known,
		rep.state == providers.Delivered && failed,
		rep.state == providers.Failed && r.Message == "3":
		return providers.Unconfirmed
	}
	return rep.state
}
