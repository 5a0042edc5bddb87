package fcm

import (
	"context"
	"fmt"
	"net/http"

	firebase "firebase.google.com/go/v4"
	"firebase.google.com/go/v4/messaging"
	"google.golang.org/api/option"
)

// newClient makes the Firebase SDK's client for one project over a transport
// of ours. Nothing is looked up for it: the project and the endpoint are given,
// and with an HTTP client of ours the SDK neither looks for credentials nor
// asks a metadata server.
//
// The SDK tries again by itself, up to four times, when a request fails or is
// answered 503, and has no switch for it
// (https://pkg.go.dev/firebase.google.com/go/v4@v4.19.0/messaging). Five pages
// for one, without our deadline, budget or breaker: the carrier never lets it
// see either, see docs/adr/0007.
func newClient(project, endpoint string, via http.RoundTripper) (*messaging.Client, error) {
	ctx := context.Background() // the SDK looks nothing up, so there is nothing to bound
	app, err := firebase.NewApp(ctx, &firebase.Config{ProjectID: project},
		option.WithHTTPClient(&http.Client{Transport: via}), option.WithEndpoint(endpoint))
	if err != nil {
		return nil, fmt.Errorf("make a Firebase app: %w", err)
	}
	client, err := app.Messaging(ctx)
	if err != nil {
		return nil, fmt.Errorf("make a Firebase messaging client: %w", err)
	}
	return client, nil
}
