// Package engine runs the partitions. Each of the 64 has one owner among the
// live instances, which reads its inbox in order, decides its timers when they
// are due and sees to its work. Ownership gives order, batches and latency;
// correctness is the commit's: two owners of one partition do no harm, as one
// of two decisions on the same revision is refused.
//
// Everything is started by [Engine.Run] and has ended when it returns.
package engine
