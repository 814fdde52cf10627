// Package services puts the key services together that a program knows. It makes
// no request and reads no credentials before a key is asked for.
package services

import (
	"strings"

	"github.com/tufops/tufops/internal/kms/aws"
	"github.com/tufops/tufops/internal/kms/azure"
	"github.com/tufops/tufops/internal/kms/file"
	"github.com/tufops/tufops/internal/kms/gcp"
	"github.com/tufops/tufops/internal/kms/vault"
	"github.com/tufops/tufops/onlinesign"
)

// New are all services, with the credentials that the environment has. prefix is
// that of [file.Keys].
func New(prefix string) onlinesign.Services {
	return onlinesign.Services{
		file.Scheme:  file.Keys{Prefix: prefix},
		gcp.Scheme:   &gcp.Keys{},
		aws.Scheme:   &aws.Keys{},
		azure.Scheme: &azure.Keys{},
		vault.Scheme: &vault.Keys{},
	}
}

// Endpoints are where a key would be asked for: the addresses that the
// environment gives for its service, as URLs, or else the URI itself, which names
// no place on this machine unless it is that of a file. Where an address is asked
// for through a proxy that the service's own variables name, that is one of them.
func Endpoints(uri string, getenv func(string) string) []string {
	var list []string
	named := func(variables ...string) {
		for _, v := range variables {
			if address := getenv(v); address != "" {
				list = append(list, address)
			}
		}
	}
	switch scheme, _, _ := strings.Cut(uri, ":"); scheme {
	case aws.Scheme:
		if strings.EqualFold(getenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"), "true") {
			break
		}
		if named("AWS_ENDPOINT_URL_KMS"); list == nil {
			named("AWS_ENDPOINT_URL")
		}
	case vault.Scheme:
		if named("VAULT_AGENT_ADDR", "VAULT_ADDR"); list != nil {
			named("VAULT_HTTP_PROXY", "VAULT_PROXY_ADDR")
		}
	}
	if list == nil {
		return []string{uri}
	}
	return list
}
