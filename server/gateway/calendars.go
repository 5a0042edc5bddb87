package gateway

import (
	"log/slog"
	"net/http"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/rpc"
)

// calendars serves the feeds that calendar programs subscribe to. They send no
// credential but the address, so it goes through the same chain as a call
// without one: whoever guesses is limited there.
func (g *Gateway) calendars() {
	client := pb.NewCalendarServiceClient(g.conn)
	g.mux.HandleFunc("GET /calendars/{file}", func(w http.ResponseWriter, r *http.Request) {
		secret, ok := strings.CutSuffix(r.PathValue("file"), ".ics")
		if !ok {
			http.NotFound(w, r)
			return
		}
		ctx := metadata.AppendToOutgoingContext(r.Context(), rpc.ClientIPHeader, g.clientIP(r))
		feed, err := client.ReadCalendar(ctx, &pb.ReadCalendarRequest{Secret: secret})
		if err != nil {
			g.noCalendar(w, r, err)
			return
		}
		h := w.Header()
		h.Set("Cache-Control", "private, max-age=900")
		h.Set("Etag", feed.GetEtag())
		if strings.Contains(r.Header.Get("If-None-Match"), feed.GetEtag()) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		h.Set("Content-Type", "text/calendar; charset=utf-8")
		h.Set("Content-Disposition", `inline; filename="tocsin.ics"`)
		_, _ = w.Write(feed.GetCalendar()) // the caller is gone
	})
}

// noCalendar answers for a feed that cannot be read. What is no secret at all
// answers as one that is wrong.
func (g *Gateway) noCalendar(w http.ResponseWriter, r *http.Request, err error) {
	switch status.Code(err) {
	case codes.NotFound, codes.InvalidArgument:
		http.NotFound(w, r)
	case codes.ResourceExhausted:
		w.Header().Set("Retry-After", "5")
		http.Error(w, "you ask too often", http.StatusTooManyRequests)
	default:
		g.c.Log.DebugContext(r.Context(), "a calendar was not served", slog.Any("error", err))
		w.Header().Set("Retry-After", "60")
		http.Error(w, "the calendar cannot be read now", http.StatusServiceUnavailable)
	}
}
