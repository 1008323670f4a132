package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/doctorsflow/doctorsflow/internal/edge"
	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/failpoint"
	"github.com/doctorsflow/doctorsflow/internal/problem"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
	"github.com/doctorsflow/doctorsflow/providers"
)

const (
	// maxReportBody bounds one call of a gateway, in bytes; a report of NHN
	// has about 600.
	maxReportBody = 1 << 20
	// reportCallsPerMinute bounds the calls for one account.
	reportCallsPerMinute = 30_000
	// reportDeadline bounds the wait for Postgres, after which the gateway is
	// told to come again.
	reportDeadline = 5 * time.Second
)

// ReportLedger is where gateways' reports are kept.
type ReportLedger interface {
	// ReportAccount returns store.ErrNotFound if there is none, and
	// store.ErrUnavailable if that could not be found out.
	ReportAccount(ctx context.Context, id uuid.UUID) (store.ReportAccount, error)
	// KeepReports commits and returns how many were not there yet.
	KeepReports(ctx context.Context, id tenant.ID, account uuid.UUID, list []store.GatewayReport) (int, error)
}

// ReportDecoder reads the body of a vendor's webhook, as the product of the
// channel writes it. Its errors wrap those of the port.
type ReportDecoder func(c event.Channel, body []byte) (list []providers.Report, unusable int, err error)

// Reports is the door for gateways' result webhooks. It keeps what they say
// and believes none of it. It is safe for concurrent use.
type Reports struct {
	ledger   ReportLedger
	decoders map[string]ReportDecoder
	doors    *reportDoors
	edge     *edge.Edge
	limits   edge.Buckets[uuid.UUID]
	floor    *floor
	outage   *outage
	log      *slog.Logger
	metrics  *reportMetrics
}

// NewReports returns the door; decoders maps a vendor to what reads its
// webhooks, e counts the calls that prove nothing (nil does not), and the
// metrics are registered with reg.
func NewReports(ledger ReportLedger, decoders map[string]ReportDecoder, e *edge.Edge, log *slog.Logger, reg prometheus.Registerer) *Reports {
	m := newReportMetrics()
	m.register(reg)
	return &Reports{
		ledger: ledger, decoders: decoders, edge: e, doors: newReportDoors(ledger, reportDeadline),
		floor: newFloor(Config{}.withDefaults().Floor, m.floorSkipped), outage: &outage{log: log, what: "gateway reports"}, log: log, metrics: m,
	}
}

// Register adds the route to mux.
func (rs *Reports) Register(mux *http.ServeMux) {
	mux.HandleFunc("POST /api/reports/{account}", rs.serve)
}

func (rs *Reports) serve(w http.ResponseWriter, r *http.Request) {
	kept, repeated, v := rs.take(w, r)
	if v.slug == "" {
		rs.metrics.calls.WithLabelValues("accepted").Inc()
		w.Header()["Content-Type"] = contentTypeJSON
		b := strconv.AppendInt([]byte(`{"kept":`), int64(kept), 10)
		b = strconv.AppendInt(append(b, `,"duplicates":`...), int64(repeated), 10)
		_, _ = w.Write(append(b, '}')) // they are kept; a gateway that left tells them again
		return
	}
	rs.metrics.calls.WithLabelValues(string(v.slug)).Inc()
	p := problem.New(v.slug).WithRetryAfter(v.retry)
	switch {
	case v.slug == problem.Unauthorized:
		p = p.WithDetail("The address or X-Toast-Webhook-Signature is not an account's. Copy both again into the gateway's console.")
	case errors.Is(v.cause, providers.ErrReportProduct):
		p = p.WithDetail("The webhook is another product's. Give each product the address of its own account.")
	case errors.Is(v.cause, providers.ErrReportEvent):
		p = p.WithDetail("Only MESSAGE_RESULT_UPDATE is taken here. Switch this webhook's other events off.")
	}
	problem.Write(w, r, p)
}

// refusal says why a call is not taken; the zero refusal is none.
type refusal struct {
	slug  problem.Slug
	cause error
	retry time.Duration
}

// take judges one call and keeps its reports. Until the token is found good,
// nothing is answered that depends on whether there is such an account.
func (rs *Reports) take(w http.ResponseWriter, r *http.Request) (kept, repeated int, _ refusal) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(r.Context(), reportDeadline)
	defer cancel()
	door, err := rs.door(ctx, r)
	if r.Context().Err() == nil {
		rs.outage.report(err)
	}
	if err != nil {
		hangUp(w)
		return 0, 0, refusal{slug: failed(err).problem, retry: retryPostgres}
	}
	if door == nil {
		rs.floor.wait(r.Context(), began)
		hangUp(w)
		if wait := rs.edge.Strange(r); wait > 0 {
			return 0, 0, refusal{slug: problem.RateLimited, retry: wait}
		}
		return 0, 0, refusal{slug: problem.Unauthorized}
	}
	if wait := rs.limits.Take(door.ID, reportCallsPerMinute, began); wait > 0 {
		hangUp(w)
		return 0, 0, refusal{slug: problem.RateLimited, retry: wait}
	}
	body, slug := readReports(w, r)
	if slug != "" {
		hangUp(w)
		return 0, 0, refusal{slug: slug}
	}
	list, unusable, v := rs.decode(door, body)
	if v.slug != "" {
		// The gateway, or whoever holds its token, has proved who it is; an
		// operator can only learn here that the console is set up wrongly.
		rs.log.Warn("gateway's call not taken", "account", door.ID, "channel", door.Channel, "problem", v.slug, "err", v.cause)
		return 0, 0, v
	}
	failpoint.Hit(failpoint.ReportTaken)
	kept, err = rs.ledger.KeepReports(ctx, door.Tenant, door.ID, list)
	failpoint.Hit(failpoint.ReportKept)
	rs.outage.report(err)
	if err != nil {
		return 0, 0, refusal{slug: failed(err).problem, retry: retryPostgres}
	}
	rs.metrics.kept.Add(float64(kept))
	rs.metrics.duplicate.Add(float64(len(list) - kept))
	rs.metrics.unusable.Add(float64(unusable))
	return kept, len(list) - kept, refusal{}
}

// door returns the account that the call proves to come from, or nil.
func (rs *Reports) door(ctx context.Context, r *http.Request) (*reportDoor, error) {
	id, ok := parseID(r.PathValue("account"))
	if !ok {
		return nil, nil
	}
	d, err := rs.doors.get(ctx, id, time.Now(), func() bool { return rs.edge.Wary(r) })
	if err != nil || !d.admits(r.Header[headerReportToken]) {
		return nil, err
	}
	return d, nil
}

// readReports reads a body of at most [maxReportBody] bytes.
func readReports(w http.ResponseWriter, r *http.Request) ([]byte, problem.Slug) {
	if e := first(r.Header["Content-Encoding"]); e != "" && !strings.EqualFold(e, "identity") {
		return nil, problem.UnsupportedMediaType
	}
	if r.ContentLength > maxReportBody {
		return nil, problem.PayloadTooLarge
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxReportBody))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return nil, problem.PayloadTooLarge
	}
	if err != nil {
		return nil, problem.BadRequest
	}
	return body, ""
}

func (rs *Reports) decode(d *reportDoor, body []byte) ([]store.GatewayReport, int, refusal) {
	if !json.Valid(body) {
		return nil, 0, refusal{slug: problem.MalformedJSON}
	}
	decode, ok := rs.decoders[d.Vendor]
	if !ok {
		return nil, 0, refusal{slug: problem.Internal, cause: errors.New("no decoder for this vendor")}
	}
	told, unusable, err := decode(d.Channel, body)
	switch {
	case errors.Is(err, providers.ErrReportSize):
		return nil, 0, refusal{slug: problem.PayloadTooLarge, cause: err}
	case err != nil:
		return nil, 0, refusal{slug: problem.Schema, cause: err}
	}
	list := make([]store.GatewayReport, len(told))
	for i, t := range told {
		list[i] = asLedger(d.Channel, t)
	}
	return list, unusable, refusal{}
}

// asLedger is a report as the ledger keeps it. A key that we did not make, or that
// is another channel's, names nothing.
func asLedger(c event.Channel, t providers.Report) store.GatewayReport {
	g := store.GatewayReport{HookID: t.HookID, RequestID: t.RequestID, Seq: t.Seq, Code: t.Code, At: t.At, Says: store.SaysNoted}
	if root, channel, err := event.ParseKey(t.Key); err == nil && channel == c {
		g.Root = root
	}
	switch t.State {
	case providers.Delivered:
		g.Says = store.SaysDelivered
	case providers.Failed:
		g.Says = store.SaysFailed
	}
	return g
}
