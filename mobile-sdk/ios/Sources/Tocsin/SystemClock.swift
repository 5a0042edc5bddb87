import Foundation

/// The phone's clock, its sleep and its dice. Tests bring their own.
public struct SystemClock: Sendable {
    /// The phone's time, right or wrong.
    public var now: @Sendable () -> Date
    /// Waits so many seconds, or throws when the task is cancelled.
    public var sleep: @Sendable (TimeInterval) async throws -> Void
    /// A number from 0 to 1, for jitter.
    public var random: @Sendable () -> Double
    /// Seconds since some moment, asleep or awake, by a clock that nobody sets.
    public var elapsed: @Sendable () -> TimeInterval

    /// - Parameter elapsed: nil for a phone whose clock nobody sets.
    public init(
        now: @escaping @Sendable () -> Date, sleep: @escaping @Sendable (TimeInterval) async throws -> Void,
        random: @escaping @Sendable () -> Double, elapsed: (@Sendable () -> TimeInterval)? = nil
    ) {
        self.now = now
        self.sleep = sleep
        self.random = random
        self.elapsed = elapsed ?? { now().timeIntervalSinceReferenceDate }
    }

    /// The system's own.
    public static let system = SystemClock(
        now: { Date() },
        sleep: { try await Task.sleep(nanoseconds: UInt64(max($0, 0) * 1_000_000_000)) },
        random: { Double.random(in: 0...1) },
        elapsed: {
            let (seconds, rest) = (ContinuousClock.now - began).components
            return TimeInterval(seconds) + TimeInterval(rest) / 1e18
        })

    private static let began = ContinuousClock.now
}

/// The phone's time as it was when this was made, and steady since. The network
/// sets a wrong clock right in the moment in which it comes back: a tap that waits
/// for it must not wait an hour more, nor be given up.
struct SteadyClock: Sendable {
    private let system: SystemClock
    private let start: Date
    private let began: TimeInterval

    init(_ system: SystemClock) {
        self.system = system
        start = system.now()
        began = system.elapsed()
    }

    var now: Date { start.addingTimeInterval(system.elapsed() - began) }
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
