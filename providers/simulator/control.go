package simulator

import (
	"bytes"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/expfmt"
)

// The control plane, under /__sim. It speaks plain JSON; an error is
// {"error": "what to do"} with status 400, 401 or 404.

// controls maps method and path to what they do; what they return is the
// answer's JSON, nil is {}.
var controls = map[string]func(*Simulator, *request) (any, error){
	"GET config":          func(s *Simulator, _ *request) (any, error) { return s.config(), nil },
	"PUT config":          (*Simulator).putConfig,
	"GET clock":           func(s *Simulator, _ *request) (any, error) { return s.Clock(), nil },
	"POST clock":          (*Simulator).postClock,
	"POST outage":         post((*Simulator).AddOutage),
	"DELETE outage":       func(s *Simulator, _ *request) (any, error) { s.EndOutages(); return nil, nil },
	"POST script":         post((*Simulator).AddScript),
	"POST templates":      post((*Simulator).AddTemplate),
	"POST senders":        post((*Simulator).AddSender),
	"POST sendnos":        post((*Simulator).AddSendNo),
	"POST unsubscribenos": (*Simulator).postAdNo,
	"POST unsubscribe":    (*Simulator).postUnsubscribe,
	"POST consents":       (*Simulator).postConsent,
	"PUT webhooks":        (*Simulator).putWebhook,
	"GET requests":        (*Simulator).getRequests,
	"GET ledger":          (*Simulator).getLedger,
	"GET arrivals":        (*Simulator).getArrivals,
	"GET violations":      func(s *Simulator, _ *request) (any, error) { return orEmpty(s.Violations()), nil },
	"GET stats":           func(s *Simulator, _ *request) (any, error) { return s.Stats(), nil },
	"POST reset":          func(s *Simulator, _ *request) (any, error) { s.Reset(); return nil, nil },
}

var errNoControl = errors.New("simulator: no such control; see the package documentation")

// control serves /__sim. Only the clock and the metrics are for everyone: a
// client must know how fast time passes.
func (s *Simulator) control(r *request) answer {
	path := strings.TrimPrefix(r.path, "/__sim/")
	if r.method == http.MethodGet && path == "metrics" {
		return s.exposition()
	}
	if r.method == http.MethodGet && path == "console" {
		return handsets()
	}
	if (r.method != http.MethodGet || path != "clock") && !s.trusts(r) {
		return controlled(http.StatusUnauthorized, errors.New("simulator: call from this machine, or send the control token as a bearer token"))
	}
	do, ok := controls[r.method+" "+path]
	if name, named := strings.CutPrefix(path, "profile/"); named && r.method == http.MethodPost {
		do, ok = func(s *Simulator, _ *request) (any, error) { return nil, s.SetProfile(name) }, true
	}
	if !ok {
		return controlled(http.StatusNotFound, errNoControl)
	}
	v, err := do(s, r)
	if err != nil {
		return controlled(http.StatusBadRequest, err)
	}
	if v == nil {
		v = struct{}{}
	}
	return reply(0, v)
}

func controlled(status int, err error) answer {
	a := reply(0, map[string]string{"error": strings.TrimPrefix(err.Error(), "simulator: ")})
	a.status = status
	return a
}

// trusts reports whether a request may use the control plane.
func (s *Simulator) trusts(r *request) bool {
	if s.token == "" {
		return r.loopback()
	}
	got := strings.TrimPrefix(r.header.Get("Authorization"), "Bearer ")
	return subtle.ConstantTimeCompare([]byte(got), []byte(s.token)) == 1
}

// post makes a control of a method that takes one value.
func post[T any](f func(*Simulator, T) error) func(*Simulator, *request) (any, error) {
	return func(s *Simulator, r *request) (any, error) {
		var v T
		if err := decodeStrict(r.body, &v); err != nil {
			return nil, err
		}
		return nil, f(s, v)
	}
}

// orEmpty keeps an empty list from being null.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// configView is the configuration that may be read and replaced while
// requests are served. In a PUT, what is absent stays as it is.
type configView struct {
	Profile     *string         `json:"profile,omitempty"`
	Latency     *Duration       `json:"latency,omitempty"`
	ReportDelay *Duration       `json:"report_delay,omitempty"`
	Rules       json.RawMessage `json:"rules,omitempty"`
}

func (s *Simulator) config() map[string]any {
	set := s.set.Load()
	return map[string]any{
		"profile": set.profile.name, "latency": Duration(set.latency), "report_delay": Duration(set.reportDelay),
		"rules": set.rules, "outages": orEmpty(set.outages), "seed": s.seed, "open": s.open,
	}
}

func (s *Simulator) putConfig(r *request) (any, error) {
	var v configView
	if err := decodeStrict(r.body, &v); err != nil {
		return nil, err
	}
	rules, err := s.set.Load().rules.merge(v.Rules)
	if err != nil {
		return nil, err
	}
	if v.Latency != nil && *v.Latency < 0 {
		return nil, errors.New("simulator: latency cannot be negative")
	}
	if v.Profile != nil {
		if err := s.SetProfile(*v.Profile); err != nil {
			return nil, err
		}
	}
	s.change(func(set *settings) {
		set.rules = rules
		if v.Latency != nil {
			set.latency = time.Duration(*v.Latency)
		}
		if v.ReportDelay != nil {
			set.reportDelay = time.Duration(*v.ReportDelay)
		}
	})
	return s.config(), nil
}

func (s *Simulator) postClock(r *request) (any, error) {
	var v struct {
		Mode    string   `json:"mode"`
		Scale   float64  `json:"scale"`
		Advance Duration `json:"advance"`
	}
	if err := decodeStrict(r.body, &v); err != nil {
		return nil, err
	}
	var err error
	switch {
	case v.Mode == "" && v.Scale == 0:
	case v.Mode == "real" && v.Scale == 0:
		err = s.SetPace(1)
	case v.Mode == "manual" && v.Scale == 0:
		err = s.SetPace(0)
	case (v.Mode == "scaled" || v.Mode == "") && v.Scale > 0:
		err = s.SetPace(v.Scale)
	default:
		err = errors.New("simulator: mode is \"real\", \"manual\" or \"scaled\" with a positive scale")
	}
	if err == nil {
		err = s.Advance(time.Duration(v.Advance))
	}
	if err != nil {
		return nil, err
	}
	return s.Clock(), nil
}

func (s *Simulator) postAdNo(r *request) (any, error) {
	var v struct {
		No     string `json:"unsubscribe_no"`
		Status string `json:"status"`
	}
	if err := decodeStrict(r.body, &v); err != nil {
		return nil, err
	}
	return nil, s.fixtures.addAdNo(v.No, v.Status)
}

func (s *Simulator) postUnsubscribe(r *request) (any, error) {
	var v struct {
		RecipientNo   string `json:"recipient_no"`
		UnsubscribeNo string `json:"unsubscribe_no"`
	}
	if err := decodeStrict(r.body, &v); err != nil {
		return nil, err
	}
	return nil, s.Unsubscribe(v.UnsubscribeNo, v.RecipientNo)
}

func (s *Simulator) postConsent(r *request) (any, error) {
	var v struct {
		RecipientNo string `json:"recipient_no"`
		Night       bool   `json:"night"`
	}
	if err := decodeStrict(r.body, &v); err != nil {
		return nil, err
	}
	if !mobile(national(v.RecipientNo)) {
		return nil, errors.New("simulator: recipient_no is not a mobile number")
	}
	s.fixtures.consent(v.RecipientNo, v.Night)
	return nil, nil
}

func (s *Simulator) putWebhook(r *request) (any, error) {
	var v struct {
		AppKey string `json:"app_key"`
		Webhook
	}
	if err := decodeStrict(r.body, &v); err != nil {
		return nil, err
	}
	return nil, s.SetWebhook(v.AppKey, v.Webhook)
}

func (s *Simulator) getRequests(r *request) (any, error) {
	q, err := url.ParseQuery(r.query)
	if err != nil {
		return nil, errors.New("simulator: the query cannot be read")
	}
	n := uint64(0)
	if v := q.Get("since"); v != "" {
		if n, err = strconv.ParseUint(v, 10, 64); err != nil {
			return nil, errors.New("simulator: since is the n of the last request you have")
		}
	}
	return s.Requests(n), nil
}

// getLedger lists accepted messages; groupingKey matches the key itself or
// its root.
func (s *Simulator) getLedger(r *request) (any, error) {
	q, err := url.ParseQuery(r.query)
	if err != nil {
		return nil, errors.New("simulator: the query cannot be read")
	}
	no, key := national(q.Get("recipientNo")), q.Get("groupingKey")
	return slices.DeleteFunc(orEmpty(s.Ledger()), func(e Entry) bool {
		return no != "" && e.RecipientNo != no || key != "" && e.GroupingKey != key && rootOf(e.GroupingKey) != key
	}), nil
}

// exposition writes the metrics in Prometheus' text format.
func (s *Simulator) exposition() answer {
	families, err := s.metrics.registry.Gather()
	if err != nil {
		return controlled(http.StatusInternalServerError, err)
	}
	var b bytes.Buffer
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&b, f); err != nil {
			return controlled(http.StatusInternalServerError, err)
		}
	}
	return answer{status: http.StatusOK, body: b.Bytes(), mime: "text/plain; version=0.0.4; charset=utf-8"}
}
