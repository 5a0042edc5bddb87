import Foundation
import Tocsin

/// A clock that stands still until the test moves it.
public final class ManualClock: Sendable {
    private struct Sleeper {
        let due: Date
        let wake: CheckedContinuation<Void, any Error>
    }

    private struct State {
        var now: Date
        var skew: TimeInterval = 0
        var sleepers: [UUID: Sleeper] = [:]
        var cancelled: Set<UUID> = []
    }

    private let state: Box<State>

    public init(_ now: Date) { state = Box(State(now: now)) }

    /// How far the phone's clock is ahead of the true time, in seconds.
    public var skew: TimeInterval {
        get { state.with { $0.skew } }
        set { state.with { $0.skew = newValue } }
    }

    /// The true time.
    public var now: Date { state.with { $0.now } }

    /// The phone's clock, with the most jitter there is.
    public var phone: SystemClock {
        SystemClock(
            now: { self.state.with { $0.now.addingTimeInterval($0.skew) } }, sleep: { try await self.sleep($0) }, random: { 1 },
            elapsed: { self.state.with { $0.now.timeIntervalSinceReferenceDate } })
    }

    /// Lets time pass, once somebody waits for it: for at most that long.
    ///
    /// - Returns: false when nobody did within ten seconds of real time.
    @discardableResult
    public func pass(_ seconds: TimeInterval) async -> Bool {
        for _ in 0..<10_000 {
            let due: [Sleeper]? = state.with { state in
                let then = state.now.addingTimeInterval(seconds)
                let due = state.sleepers.filter { $0.value.due <= then }
                if due.isEmpty { return nil }
                state.now = then
                for id in due.keys { state.sleepers[id] = nil }
                return due.values.sorted { $0.due < $1.due }
            }
            if let due {
                for sleeper in due { sleeper.wake.resume() }
                return true
            }
            try? await Task.sleep(nanoseconds: 1_000_000)
        }
        return false
    }

    /// Moves time without waiting for anybody.
    public func jump(_ seconds: TimeInterval) {
        let due: [Sleeper] = state.with { state in
            state.now.addTimeInterval(seconds)
            let due = state.sleepers.filter { $0.value.due <= state.now }
            for id in due.keys { state.sleepers[id] = nil }
            return due.values.sorted { $0.due < $1.due }
        }
        for sleeper in due { sleeper.wake.resume() }
    }

    private func sleep(_ seconds: TimeInterval) async throws {
        let id = UUID()
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (wake: CheckedContinuation<Void, any Error>) in
                let now: Result<Void, any Error>? = state.with { state in
                    if state.cancelled.remove(id) != nil { return .failure(CancellationError()) }
                    if seconds <= 0 { return .success(()) }
                    state.sleepers[id] = Sleeper(due: state.now.addingTimeInterval(seconds), wake: wake)
                    return nil
                }
                if let now { wake.resume(with: now) }
            }
        } onCancel: {
            let sleeper: Sleeper? = state.with { state in
                if let sleeper = state.sleepers.removeValue(forKey: id) { return sleeper }
                state.cancelled.insert(id)
                return nil
            }
            sleeper?.wake.resume(throwing: CancellationError())
        }
    }
}
