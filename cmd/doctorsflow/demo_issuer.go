package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"

	"github.com/doctorsflow/doctorsflow/internal/auth"
	"github.com/doctorsflow/doctorsflow/internal/auth/oidctest"
	"github.com/doctorsflow/doctorsflow/internal/edge"
	"github.com/doctorsflow/doctorsflow/internal/store"
	"github.com/doctorsflow/doctorsflow/internal/telemetry"
	"github.com/doctorsflow/doctorsflow/internal/tenant"
)

// What the demo's issuer says of whoever asks for a token.
const (
	demoAudience     = "doctorsflow-demo"
	demoOrganization = "org_demo"
)

// startIssuer serves an identity provider of the demo's own, with a key that
// nobody else has and that ends with it, and has the demo trust it. It gives a
// token to whoever asks from this machine.
func startIssuer(f *serveFlags, o output) (stop func() error, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	f.OIDCIssuer, f.OIDCAudience = "http://"+listener.Addr().String(), []string{demoAudience}
	f.OIDCRoles = map[string]string{}
	for _, role := range auth.Roles {
		f.OIDCRoles[string(role)] = string(role)
	}
	issuer := oidctest.New(f.OIDCIssuer)
	mux := http.NewServeMux()
	mux.Handle("/", issuer.Handler())
	mux.HandleFunc("GET /token", func(w http.ResponseWriter, r *http.Request) { giveToken(w, r, issuer) })
	server := edge.Server(mux, telemetry.NewLogger(o.err, f.LogFormat, f.LogLevel))
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	return func() error {
		err := server.Close()
		if served := <-done; !errors.Is(served, http.ErrServerClosed) {
			err = errors.Join(err, served)
		}
		return err
	}, nil
}

// giveToken answers a token of five minutes for ?role=, which is viewer if it
// is not given. A page that came to the address by a name of its own
// (DNS rebinding) gets none.
func giveToken(w http.ResponseWriter, r *http.Request, issuer *oidctest.Issuer) {
	role := orElse(r.URL.Query().Get("role"), string(auth.Viewer))
	at, err := netip.ParseAddrPort(r.Host)
	switch {
	case err != nil || !at.Addr().IsLoopback():
		http.Error(w, "ask from this machine, by its address", http.StatusMisdirectedRequest)
	case !slices.Contains(auth.Roles, auth.Role(role)):
		http.Error(w, fmt.Sprint("role is one of ", auth.Roles), http.StatusBadRequest)
	default:
		fmt.Fprintln(w, issuer.Sign(issuer.Claims(demoAudience, "user_demo", demoOrganization, role)))
	}
}

// connect makes the issuer's organisation the demo's clinic.
func connect(ctx context.Context, db *store.DB, f *serveFlags, id tenant.ID) error {
	if f.OIDCIssuer == "" {
		return nil
	}
	_, err := db.AddIdentity(ctx, id, store.Identity{Issuer: f.OIDCIssuer, Kind: store.Organization, Subject: demoOrganization})
	return err
}
