// Command tools writes the third-party .proto files that our contract imports.
//
// The Go packages that our generated code compiles against carry the
// descriptors of exactly those files, so they are printed from there: the
// sources cannot differ from the Go types, and no copy of them sits in our
// tree. Comments are lost on the way, which changes nothing that is generated
// for us.
//
// Usage: go run . DIR
package main

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"github.com/jhump/protoreflect/desc"
	"github.com/jhump/protoreflect/desc/protoprint"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/genproto/googleapis/api/httpbody"
	"google.golang.org/protobuf/reflect/protoreflect"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: go run . DIR")
	}
	if err := write(os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

func write(dir string) error {
	printer := protoprint.Printer{SortElements: false, Compact: true}
	for _, file := range []protoreflect.FileDescriptor{
		validate.File_buf_validate_validate_proto,
		annotations.File_google_api_annotations_proto,
		annotations.File_google_api_field_behavior_proto,
		annotations.File_google_api_field_info_proto,
		annotations.File_google_api_http_proto,
		annotations.File_google_api_resource_proto,
		httpbody.File_google_api_httpbody_proto,
	} {
		wrapped, err := desc.WrapFile(file)
		if err != nil {
			return fmt.Errorf("read the descriptor of %s: %w", file.Path(), err)
		}
		text, err := printer.PrintProtoToString(wrapped)
		if err != nil {
			return fmt.Errorf("print %s: %w", file.Path(), err)
		}
		path := filepath.Join(dir, file.Path())
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("write %s: %w", file.Path(), err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return fmt.Errorf("write %s: %w", file.Path(), err)
		}
	}
	return nil
}
