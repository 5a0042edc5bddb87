package rpc_test

import (
	"testing"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/tocsin-oncall/tocsin/api/tocsin/v1"
	"github.com/tocsin-oncall/tocsin/server/rpc"
)

// Phones behind one proxy, or one office's address, report and act at once in a
// storm, by what was in their pages: none is turned away for the others.
func TestPhonesBehindOneAddressAreNotTurnedAway(t *testing.T) {
	r := newRig(t, func(c *rpc.Config) { c.Limits = rpc.Limits{} })
	r.still.Store(r.now().UnixMilli())
	exhausted := func(err error) bool { return status.Code(err) == codes.ResourceExhausted }
	for n := range 60 {
		_, err := r.devices().ReportReceipts(t.Context(), &pb.ReportReceiptsRequest{
			ReceiptKey: "k", Receipts: []*pb.Receipt{{DeliveryId: uuid.NewString(), State: pb.Receipt_STATE_RECEIVED}},
		})
		if exhausted(err) {
			t.Fatalf("receipt %d of one instant: %v", n+1, err)
		}
		_, err = r.devices().Act(t.Context(), &pb.ActRequest{
			ActionId: uuid.NewString(), DeliveryId: uuid.NewString(), Verb: pb.ActRequest_VERB_ACKNOWLEDGE, ActionToken: "v1.x",
		})
		if exhausted(err) {
			t.Fatalf("action %d of one instant: %v", n+1, err)
		}
	}
	// Whoever guesses at codes has a tenth of it.
	for n := range 100 {
		if _, err := r.devices().PreviewEnrolment(t.Context(), &pb.PreviewEnrolmentRequest{Code: "guess"}); exhausted(err) {
			return
		} else if n == 99 {
			t.Errorf("a hundred guesses in one instant: %v, want them limited", err)
		}
	}
}
