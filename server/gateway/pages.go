package gateway

import (
	"embed"
	"io/fs"
	"log/slog"
	"net/http"

	"github.com/tocsin-oncall/tocsin/api/openapi"
	"github.com/tocsin-oncall/tocsin/api/schema"
)

// web is the pages, which need nothing from elsewhere.
//
//go:embed web
var web embed.FS

// policy lets the pages load what this server has, and nothing else.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'"

// pages hangs up the page that says what this is, the one that shows the API,
// and the document that it shows.
func (g *Gateway) pages() {
	files, err := fs.Sub(web, "web")
	if err != nil { // the folder is embedded
		g.c.Log.Error("pages are missing", slog.Any("error", err))
		return
	}
	page := func(name, kind string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			body, err := fs.ReadFile(files, name)
			if err != nil {
				http.NotFound(w, r)
				return
			}
			w.Header().Set("Content-Type", kind)
			w.Header().Set("Content-Security-Policy", policy)
			w.Header().Set("Cache-Control", "no-cache")
			_, _ = w.Write(body) // the caller is gone
		}
	}
	g.mux.HandleFunc("GET /{$}", page("index.html", "text/html; charset=utf-8"))
	g.mux.HandleFunc("GET /docs", page("docs.html", "text/html; charset=utf-8"))
	g.mux.HandleFunc("GET /docs/style.css", page("style.css", "text/css; charset=utf-8"))
	g.mux.HandleFunc("GET /docs/docs.js", page("docs.js", "text/javascript; charset=utf-8"))
	g.mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-cache")
		_, _ = w.Write(openapi.Document) // the caller is gone
	})
	g.mux.HandleFunc("GET /schema.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/schema+json")
		w.Header().Set("Cache-Control", "no-cache")
		_, _ = w.Write(schema.Document) // likewise
	})
}
