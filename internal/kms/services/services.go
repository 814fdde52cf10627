// Package services puts the key services together that a program knows. It makes
// no request and reads no credentials before a key is asked for.
package services

import (
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
