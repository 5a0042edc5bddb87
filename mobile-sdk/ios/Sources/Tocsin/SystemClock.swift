import Foundation

/// The phone's clock, its sleep and its dice. Tests bring their own.
public struct SystemClock: Sendable {
    /// The phone's time, right or wrong.
    public var now: @Sendable () -> Date
    /// Waits so many seconds, or throws when the task is cancelled.
    public var sleep: @Sendable (TimeInterval) async throws -> Void
    /// A number from 0 to 1, for jitter.
    public var random: @Sendable () -> Double

    public init(
        now: @escaping @Sendable () -> Date, sleep: @escaping @Sendable (TimeInterval) async throws -> Void,
        random: @escaping @Sendable () -> Double
    ) {
        self.now = now
        self.sleep = sleep
        self.random = random
    }

    /// The system's own.
    public static let system = SystemClock(
        now: { Date() },
        sleep: { try await Task.sleep(nanoseconds: UInt64(max($0, 0) * 1_000_000_000)) },
        random: { Double.random(in: 0...1) })
}

extension SystemClock {
    /// What the work answers, or nil when it takes longer. Work that loses is cancelled.
    func within<Result: Sendable>(_ seconds: TimeInterval, _ work: @escaping @Sendable () async -> Result) async -> Result? {
        await withTaskGroup(of: Result?.self) { group in
            group.addTask { await work() }
            group.addTask {
                try? await sleep(seconds)
                return nil
            }
            let first = await group.next() ?? nil
            group.cancelAll()
            return first
        }
    }
}
