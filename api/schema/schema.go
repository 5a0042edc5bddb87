// Package schema is the JSON Schema of configuration files, by which editors
// complete and check them. It is written by a test of package server/directory
// out of the types of a document.
package schema

import _ "embed"

// Document is the schema of one YAML document.
//
//go:embed tocsin.schema.json
var Document []byte //nolint:gochecknoglobals // an embedded file
