import Foundation
import TocsinTesting

@testable import Tocsin

/// 2026-03-01T02:00:00Z, the moment of every vector.
let night = Date(timeIntervalSince1970: 1_772_330_400)

/// A phone with a pretended server, a clock that stands still, and a memory that can be full.
struct Desk: Sendable {
    let server = PretendServer()
    let clock = ManualClock(night)
    let storage: MemoryStorage
    let secrets = MemorySecrets()
    let unlockKey = TestUnlockKey()

    init() {
        let clock = clock
        storage = MemoryStorage(now: { clock.phone.now() })
    }

    /// The app, started: another one on the same desk is the app after it was killed.
    func phone() -> Phone {
        Phone(
            app: "com.example.oncall/1.0", os: "18.1", storage: storage, secrets: secrets, crypto: TestCrypto(), unlockKey: unlockKey,
            transport: server, clock: clock.phone)
    }

    /// A phone on which Ann is signed in.
    func enrolled() throws -> Phone {
        let phone = phone()
        let session = Session(
            server: URL(string: "https://tocsin.example.com")!, device: "devices/d7", user: "users/ann", person: "Ann Archer", organization: "Example")
        try phone.account.keep(session, credential: "tcd_secret")
        return phone
    }
}

/// A page about incident a, which loses its worth ten minutes after `night`.
func page(_ delivery: Int = 1, revision: Int64 = 3, more: [String: JSON] = [:]) -> Push {
    let t: [String: JSON] = [
        "v": JSON(Int64(1)), "d": JSON("0b9e3c1a-6f0d-4a57-9d1e-00000000000\(delivery)"), "k": "page", "i": "a", "n": JSON(Int64(42)),
        "r": JSON(revision), "x": JSON(Int64(night.timeIntervalSince1970) + 600), "u": "/v1/push/receipts", "uk": JSON("r1.key-of-\(delivery)"),
    ]
    let payload: JSON = [
        "aps": ["alert": ["title": "CRITICAL Payments", "body": "disk full"], "sound": "page.caf", "category": "TOCSIN_PAGE"],
        "t": JSON(.object(t.merging(more) { $1 })),
    ]
    return Push(payload)!
}

let acknowledged =
    #"{"outcome":"OUTCOME_DONE","state":"STATE_ACKNOWLEDGED","changed":true,"holder":"Ann Archer","holderIsCaller":true,"number":"42","reopen":false,"serverTime":"2026-03-01T02:00:00Z"}"#
let recorded = #"{"results":[],"serverTime":"2026-03-01T02:00:00Z"}"#

/// A refusal as the server writes it.
func refusal(_ status: Int, _ code: Int, _ reason: String, reopen: Bool = false, retryAfter: Int? = nil) -> PretendServer.Reply {
    let metadata = reopen ? #"{"reopen":"true"}"# : "{}"
    return .answer(
        status,
        #"{"code":\#(code),"message":"no","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"\#(reason)","domain":"tocsin.dev","metadata":\#(metadata)},{"@type":"type.googleapis.com/google.rpc.RequestInfo","requestId":"q1"}]}"#,
        headers: retryAfter.map { ["retry-after": String($0)] } ?? [:])
}

extension TapProgress {
    var answer: TapAnswer? {
        if case .confirmed(let answer) = self { return answer }
        return nil
    }

    var refusal: PhoneError? {
        if case .refused(let error) = self { return error }
        return nil
    }

    var waitsFor: PhoneError? {
        if case .waiting(let error) = self { return error }
        return nil
    }
}

extension AsyncStream where Element: Sendable {
    /// Its first elements, at most that many.
    func first(_ count: Int) async -> [Element] {
        var all: [Element] = []
        for await element in self {
            all.append(element)
            if all.count == count { break }
        }
        return all
    }
}

/// Waits until it is so, for at most ten seconds of real time.
func eventually(_ isSo: () async throws -> Bool) async rethrows -> Bool {
    for _ in 0..<2_000 {
        if try await isSo() { return true }
        try? await Task.sleep(nanoseconds: 5_000_000)
    }
    return false
}
