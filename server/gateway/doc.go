// Package gateway is the HTTP door. Its REST side calls the gRPC server as a
// client over an in-memory connection, so that interceptors, streams and errors
// are the same on both doors. Beside it stand what speaks no gRPC: the webhooks
// of monitors, server-sent events, health, readiness, metrics and the page that
// shows the API.
//
// gRPC and HTTP share one port, with TLS or without.
package gateway
