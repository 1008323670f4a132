package api

import (
	"context"
	"math"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/internal/auth"
	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/problem"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// MessageStats is the part of the ledger that has what was counted.
type MessageStats interface {
	Statistics(ctx context.Context, id tenant.ID, q store.StatsQuery) (store.Statistics, error)
}

// maxStatDays bounds the days of one question.
const maxStatDays = 400

// messageStats are the numbers of a group.
type messageStats struct {
	Day          *string    `json:"day,omitempty" doc:"Where they are grouped by day."`
	WorkflowID   *uuid.UUID `json:"workflow_id,omitempty" format:"uuid" doc:"Where they are grouped by workflow."`
	Channel      *string    `json:"channel,omitempty" enum:"kakao,sms" doc:"Where they are grouped by channel."`
	Messages     int64      `json:"messages" doc:"What was meant for patients."`
	Sends        int64      `json:"sends" doc:"What gateways were asked for: a Kakao message that falls back is one message and two sends."`
	Pending      int64      `json:"pending" doc:"Of the sends, like the next three."`
	Sent         int64      `json:"sent"`
	Delivered    int64      `json:"delivered"`
	Failed       int64      `json:"failed"`
	FellBack     int64      `json:"fell_back" doc:"Of those that failed: an SMS took their place."`
	SuccessRate  *float64   `json:"success_rate" doc:"Sent or delivered, of the messages that are not pending; of the sends where a channel is looked at. null where there are none."`
	FallbackRate *float64   `json:"fallback_rate" doc:"Fell back, of the Kakao sends; null where there are none."`
	SMSShare     *float64   `json:"sms_share" doc:"Sent or delivered by SMS, of all that were; null where there are none."`
	LateP50      *int64     `json:"late_p50_seconds" doc:"Half were sent within so many seconds of their due time. One of 1, 5, 30, 60, 300, 1800, 3600, 21600, 86400; null where there are none, or it took longer."`
	LateP95      *int64     `json:"late_p95_seconds"`
	DeliveryP50  *int64     `json:"delivery_p50_seconds" doc:"From sent to delivered, in the same way."`
	DeliveryP95  *int64     `json:"delivery_p95_seconds"`
}

type messageStatsInput struct {
	From       string  `query:"from" format:"date" doc:"The first day, by the clinic's clocks; default 29 days before the last." example:"2026-11-01"`
	To         string  `query:"to" format:"date" doc:"The last day; default today."`
	WorkflowID queryID `query:"workflow_id"`
	Channel    string  `query:"channel" enum:"kakao,sms"`
	GroupBy    string  `query:"group_by" enum:"day,workflow,channel" doc:"What the groups are told apart by; by default there are none."`
}

type messageStatsOutput struct {
	Body struct {
		From   string         `json:"from" format:"date"`
		To     string         `json:"to" format:"date"`
		AsOf   *time.Time     `json:"as_of" doc:"Since when the numbers stand at the latest, of the days that may still change: today's are counted every minute, last week's every few hours. null where no day changes any more."`
		Total  messageStats   `json:"total"`
		Groups []messageStats `json:"groups" nullable:"false" doc:"Days newest first."`
	}
}

// getMessageStats serves how it goes.
func getMessageStats(db MessageStats) (op operation[messageStatsInput, messageStatsOutput]) {
	op.Operation = get("get-message-stats", "/api/message-logs/stats", "Count message logs",
		"How many messages were sent, by which channel, how many fell back and how long it took, by day, workflow or channel. Counted from behind; as_of says since when. A message counts on the day of its first attempt.", "Messages")
	op.told = telling[messageStatsOutput]{how: toldRead, shown: func(o *messageStatsOutput) (int, []uuid.UUID) { return len(o.Body.Groups), nil }}
	op.do = func(ctx context.Context, by auth.Principal, in *messageStatsInput) (*messageStatsOutput, error) {
		if in.From != "" && in.To != "" && (in.From > in.To || daysBetween(in.From, in.To) > maxStatDays) {
			return nil, newFailure(ctx, problem.New(problem.InvalidParameter).WithErrors(problem.Field{Pointer: "/from", Code: "wrong-range"}))
		}
		q := store.StatsQuery{From: in.From, To: in.To, Workflow: uuid.UUID(in.WorkflowID), Channel: event.Channel(in.Channel)}
		all, err := db.Statistics(ctx, by.Tenant, q)
		if err != nil {
			return nil, err
		}
		out := new(messageStatsOutput)
		out.Body.From, out.Body.To, out.Body.AsOf, out.Body.Groups = all.From, all.To, whenOrNull(all.AsOf), []messageStats{}
		for _, g := range all.Groups { // one at most
			out.Body.Total = showStats(g, in.Channel != "")
		}
		if q.By = store.Grouping(in.GroupBy); q.By == "" {
			return out, nil
		}
		q.From, q.To = all.From, all.To
		groups, err := db.Statistics(ctx, by.Tenant, q)
		if err != nil {
			return nil, err
		}
		for _, g := range groups.Groups {
			out.Body.Groups = append(out.Body.Groups, showStats(g, in.Channel != "" || q.By == store.ByChannel))
		}
		return out, nil
	}
	return op
}

// showStats shows a group; oneChannel says that it has no other.
func showStats(g store.Stats, oneChannel bool) messageStats {
	of := g.Messages
	if oneChannel {
		of = g.Sends
	}
	good := g.Sent + g.Delivered
	return messageStats{
		Day: orNull(g.Day), WorkflowID: orNull(g.Workflow), Channel: orNull(string(g.Channel)),
		Messages: g.Messages, Sends: g.Sends, Pending: g.Pending, Sent: g.Sent, Delivered: g.Delivered, Failed: g.Failed, FellBack: g.FellBack,
		SuccessRate: rate(good, of-g.Pending), FallbackRate: rate(g.FellBack, g.Kakao), SMSShare: rate(g.BySMS, good),
		LateP50: within(g.Lateness, 0.5), LateP95: within(g.Lateness, 0.95), DeliveryP50: within(g.Delivery, 0.5), DeliveryP95: within(g.Delivery, 0.95),
	}
}

// rate is a share to four places, null of nothing.
func rate(part, of int64) *float64 {
	if of <= 0 {
		return nil
	}
	return new(math.Round(float64(part)/float64(of)*1e4) / 1e4)
}

func within(s store.Spans, share float64) *int64 {
	bound, ok := s.Within(share)
	if !ok {
		return nil
	}
	return new(int64(bound / time.Second))
}

func daysBetween(from, to string) int {
	a, _ := time.Parse(time.DateOnly, from) // days, by their format
	b, _ := time.Parse(time.DateOnly, to)
	return int(b.Sub(a).Hours() / 24)
}
