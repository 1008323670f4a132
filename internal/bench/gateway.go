package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Gateway is what receives the messages: the simulator, which says itself what
// arrived and when.
type Gateway struct {
	URL string
	// Foreign marks another kind of gateway. What arrived is then taken from
	// the ledger, and when from the time of the gateway's answer; a message
	// that it got twice is not seen.
	Foreign bool
}

// Probe finds out whether the gateway is the simulator. An error says that it
// cannot be reached.
func (g *Gateway) Probe(ctx context.Context) error {
	_, err := g.Accepted(ctx)
	g.Foreign = errors.Is(err, errForeign)
	if g.Foreign {
		return nil
	}
	return err
}

var errForeign = errors.New("bench: the gateway is not `doctorsflow simulator`, or does not let this machine control it")

// Arrival is a message that the gateway accepted.
type Arrival struct {
	Root    uuid.UUID // the root step, from the grouping key
	Channel string
	At      time.Time
}

// Accepted returns how many messages the gateway accepted so far.
func (g Gateway) Accepted(ctx context.Context) (n int, err error) {
	var s struct{ Accepted map[string]int }
	if err := g.get(ctx, "stats", &s); err != nil {
		return 0, err
	}
	for _, v := range s.Accepted {
		n += v
	}
	return n, nil
}

// Arrivals returns the messages accepted after those that an earlier call's
// next stands for.
func (g Gateway) Arrivals(ctx context.Context, since uint32) (list []Arrival, next uint32, err error) {
	var a struct {
		Next         uint32
		Key, Channel []string
		At           []int64
	}
	if err := g.get(ctx, fmt.Sprint("arrivals?since=", since), &a); err != nil {
		return nil, since, err
	}
	if len(a.Key) != len(a.At) || len(a.Channel) != len(a.At) {
		return nil, since, errors.New("bench: the gateway's list of arrivals is not whole")
	}
	for i, key := range a.Key {
		root, _, _ := strings.Cut(key, ":")
		id, err := uuid.Parse(root)
		if err != nil {
			continue // not sent by the pipeline
		}
		list = append(list, Arrival{id, a.Channel[i], time.Unix(0, a.At[i])})
	}
	return list, a.Next, nil
}

func (g Gateway) get(ctx context.Context, what string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.URL+"/__sim/"+what, nil)
	if err != nil {
		return fmt.Errorf("bench: gateway: %w", err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("bench: gateway: %w", err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(into); err != nil || res.StatusCode != http.StatusOK {
		return errForeign
	}
	return nil
}
