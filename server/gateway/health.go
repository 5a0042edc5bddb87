package gateway

import (
	"encoding/json"
	"net/http"
)

// healthz says that the process answers. It asks nothing: whoever restarts
// processes by it must not restart them because Redis is away.
func healthz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("ok\n")) // the caller is gone
}

// readyz says whether an event sent here would page somebody, and if not, why.
func (g *Gateway) readyz(w http.ResponseWriter, r *http.Request) {
	answer := struct {
		Ready  bool              `json:"ready"`
		Checks map[string]string `json:"checks"`
	}{Ready: true, Checks: map[string]string{}}
	if g.c.Ready != nil {
		for _, c := range g.c.Ready(r.Context()) {
			answer.Checks[c.Name] = "ok"
			if c.Err != nil {
				answer.Checks[c.Name], answer.Ready = c.Err.Error(), false
			}
		}
	}
	w.Header().Set("Content-Type", "application/json")
	if !answer.Ready {
		w.Header().Set("Retry-After", "5")
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(answer) // the caller is gone
}
