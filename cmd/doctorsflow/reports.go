package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/doctorsflow/doctorsflow/ingest"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/providers/nhn"
	"github.com/doctorsflow/doctorsflow/providers/simulator"
)

// reportDecoders is what reads each vendor's result webhooks.
var reportDecoders = map[string]ingest.ReportDecoder{"nhn": nhn.Reports, "simulator": nhn.Reports}

// simulatorAppKey is the app key of an account at the built-in simulator, one
// for each, so that each has a webhook of its own.
func simulatorAppKey(given, account string) string { return orElse(given, "simulator-"+account) }

// simulatorReports tells the built-in simulator, account by account, where its
// results go and with which token: what an operator does in NHN's console.
func simulatorReports(ctx context.Context, db *store.DB, sim, self string, log *slog.Logger) error {
	told := map[uuid.UUID]string{}
	var since time.Time
	ticker := time.NewTicker(250 * time.Millisecond)
	defer ticker.Stop()
	for {
		began := time.Now()
		doors, err := db.ReportDoors(ctx, "simulator", since)
		for _, d := range doors {
			if err == nil && told[d.Account] != d.Token {
				if err = putWebhook(ctx, sim, self, d); err == nil {
					told[d.Account] = d.Token
				}
			}
		}
		switch {
		case err == nil:
			since = began.Add(-time.Minute) // a change may have been committed late
		case ctx.Err() == nil:
			log.Debug("the simulator does not know yet where to report", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func putWebhook(ctx context.Context, sim, self string, d store.ReportDoor) error {
	body, err := json.Marshal(struct {
		AppKey string `json:"app_key"`
		simulator.Webhook
	}{simulatorAppKey(d.AppKey, d.Account.String()), simulator.Webhook{URL: self + "/api/reports/" + d.Account.String(), Signature: d.Token}})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, sim+"/__sim/webhooks", bytes.NewReader(body))
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<16)) // so that the connection is used again
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("the simulator's control plane answered %s", res.Status)
	}
	return nil
}

// loopback is an address that a part of this process reaches a listener by.
func loopback(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsUnspecified() {
		return "http://" + addr.String()
	}
	return "http://" + net.JoinHostPort("127.0.0.1", port)
}

// printReports says where each account's results are to be sent.
func printReports(w io.Writer, a store.Applied, base string) {
	for _, acct := range a.Accounts {
		if acct.Vendor == "simulator" {
			continue // it is told by the process that runs it
		}
		fmt.Fprintf(w, "account %s: result webhook %s/api/reports/%s\n", acct.Channel, base, acct.ID)
		if acct.ReportToken != "" {
			fmt.Fprintf(w, "        signature for the console (shown once): %s\n", acct.ReportToken)
		}
	}
}
