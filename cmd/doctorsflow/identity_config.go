package main

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"

	"github.com/doctorsflow/doctorsflow/internal/auth"
)

// issuerURL reports whether s can be an issuer: https, or http on this machine.
func issuerURL(s string) bool {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Scheme == "https" || u.Scheme == "http" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback())
}

// checkIssuer refuses settings with which tokens of others would be good.
func (f *serveFlags) checkIssuer() (errs []error) {
	if f.OIDCIssuer == "" {
		if len(f.OIDCAudience)+len(f.OIDCParties)+len(f.OIDCRoles) > 0 || f.OIDCOrgClaim != "" || f.OIDCRole != "" {
			errs = append(errs, errors.New("settings of an issuer without the issuer: set OIDC_ISSUER"))
		}
		return errs
	}
	if len(f.OIDCAudience)+len(f.OIDCParties) == 0 {
		errs = append(errs, errors.New("an issuer gives tokens for other applications too: set OIDC_AUDIENCE, or OIDC_AUTHORIZED_PARTIES to your application's origins (Clerk)"))
	}
	if (f.OIDCOrgClaim == "") != (f.OIDCRole == "") {
		errs = append(errs, errors.New("set both OIDC_ORGANIZATION_CLAIM and OIDC_ROLE_CLAIM, or neither"))
	}
	for _, word := range slices.Sorted(maps.Keys(f.OIDCRoles)) {
		if !slices.Contains(auth.Roles, auth.Role(f.OIDCRoles[word])) {
			errs = append(errs, fmt.Errorf("OIDC_ROLES: %q is no role; a word means owner, staff, viewer or integration", f.OIDCRoles[word]))
		}
	}
	return errs
}

// issuer is whose tokens the API takes, or nil.
func (f *serveFlags) issuer() *auth.Issuer {
	if f.OIDCIssuer == "" {
		return nil
	}
	c := auth.IssuerConfig{URL: f.OIDCIssuer, Audiences: f.OIDCAudience, Parties: f.OIDCParties, OrganizationClaim: f.OIDCOrgClaim, RoleClaim: f.OIDCRole}
	if len(f.OIDCRoles) > 0 {
		c.Roles = map[string]auth.Role{}
		for word, role := range f.OIDCRoles {
			c.Roles[word] = auth.Role(role)
		}
	}
	return auth.NewIssuer(c)
}
