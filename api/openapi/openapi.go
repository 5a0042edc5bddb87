// Package openapi holds the OpenAPI (Swagger 2.0) document of the HTTP API, as
// it is generated from the protos.
package openapi

import _ "embed" // of the document

// Document is the document: JSON.
//
//go:embed tocsin.swagger.json
var Document []byte //nolint:gochecknoglobals // embedded
