package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/doctorsflow/doctorsflow/internal/bench"
	"github.com/doctorsflow/doctorsflow/internal/event"
	"github.com/doctorsflow/doctorsflow/internal/local"
	"github.com/doctorsflow/doctorsflow/internal/stream"
	"github.com/doctorsflow/doctorsflow/providers"
	"github.com/doctorsflow/doctorsflow/providers/nhn"
)

// ceilings measures each part alone, as often as the loads, and takes the
// medians.
func (c *benchLoadCommand) ceilings(ctx context.Context, o output, rig *benchRig) (list []bench.Ceiling, err error) {
	dir, err := benchData()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, local.Remove(dir)) }()
	for _, m := range []struct {
		name    string
		measure func(context.Context, string, int, *benchRig) ([]float64, error)
	}{{bench.JetStreamCeiling, c.jetStreamCeiling}, {bench.PostgresCeiling, c.postgresCeiling}, {bench.HTTPCeiling, c.httpCeiling}} {
		rates, err := m.measure(ctx, dir, c.ceilingSize(), rig)
		if err != nil {
			return list, err
		}
		ceiling := bench.NewCeiling(m.name, rates)
		fmt.Fprintf(o.err, "ceiling: %s %.0f/s\n", ceiling.Name, ceiling.PerSecond)
		list = append(list, ceiling)
	}
	return list, nil
}

// ceilingSize is how many messages, rows or requests a ceiling is measured
// with: as many as a load sends, within limits that keep it short.
func (c *benchLoadCommand) ceilingSize() int { return min(max(3*c.Count, 1000), 20_000) }

func (c *benchLoadCommand) repeat(measure func() (float64, error)) (rates []float64, err error) {
	for range c.Runs {
		rate, err := measure()
		if err != nil {
			return nil, err
		}
		rates = append(rates, rate)
	}
	return rates, nil
}

func (c *benchLoadCommand) jetStreamCeiling(ctx context.Context, dir string, n int, _ *benchRig) ([]float64, error) {
	password := rand.Text()
	nats, err := local.StartNATS(local.NATSConfig{Dir: filepath.Join(dir, "nats"), AppPassword: password})
	if err != nil {
		return nil, err
	}
	defer nats.Shutdown()
	bus, err := stream.Connect(ctx, stream.Config{InProcess: nats.InProcess(), User: local.AppUser, Password: password, Replicas: 1, Name: "bench"})
	if err != nil {
		return nil, err
	}
	defer bus.Close()
	return c.repeat(func() (float64, error) { return bench.JetStreamMessages(ctx, bus, n) })
}

func (c *benchLoadCommand) postgresCeiling(ctx context.Context, dir string, n int, _ *benchRig) (rates []float64, err error) {
	pg, err := local.StartPostgres(ctx, local.PostgresConfig{Dir: dir, Bin: c.PostgresBin, Durable: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, pg.Stop(context.WithoutCancel(ctx))) }()
	return c.repeat(func() (float64, error) { return bench.PostgresCommits(ctx, pg.SuperURL(), n) })
}

func (c *benchLoadCommand) httpCeiling(ctx context.Context, _ string, n int, rig *benchRig) ([]float64, error) {
	connections := c.Callers
	if c.GatewayLatency > 0 {
		connections = max(connections, 256) // as many as the worker has slots
	}
	g := nhn.NewAlimtalk(providers.Account{
		Channel: event.Kakao, BaseURL: rig.Gateway.URL, AppKey: "bench-ceiling", Secret: "bench", Sender: benchSender,
	}, nhn.HTTPClient(nhn.HTTPOptions{MaxIdle: connections}))
	return c.repeat(func() (float64, error) { return bench.HTTPSends(ctx, g, n, connections) })
}
