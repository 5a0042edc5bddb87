import Foundation
import Tocsin

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

/// A server that answers as the test says.
public final class PretendServer: Transport {
    /// What it does with a call.
    public enum Reply: Sendable {
        /// Answers. A body of JSON, as text.
        case answer(Int, String, headers: [String: String] = [:])
        /// Sends server-sent events as they are, then ends the answer, or leaves it open.
        case events([String], ends: Bool)
        /// Takes the call and says nothing, ever.
        case silence
        /// Cannot be reached.
        case unreachable
        /// Does what was asked, and the answer is lost.
        case lost
    }

    /// A call that was made.
    public struct Heard: Sendable {
        public let method: String
        public let path: String
        public let query: String
        /// Names in lower case.
        public let headers: [String: String]
        public let body: Data
    }

    private let state = Box((heard: [Heard](), rules: [(String, @Sendable (Heard) -> Reply)]()))

    public init() {}

    /// How calls are answered whose path has this ending. The latest rule wins; without one nobody is there.
    public func on(_ ending: String, _ reply: @escaping @Sendable (Heard) -> Reply) {
        state.with { $0.rules.append((ending, reply)) }
    }

    /// Answers each call in turn; the last answer stays.
    public func on(_ ending: String, _ replies: [Reply]) {
        let left = Box(replies)
        on(ending) { _ in left.with { $0.count > 1 ? $0.removeFirst() : $0.first ?? .unreachable } }
    }

    /// The calls so far whose path has this ending.
    public func heard(_ ending: String) -> [Heard] {
        state.with { $0.heard.filter { $0.path.hasSuffix(ending) } }
    }

    public func stream(_ request: URLRequest) -> AsyncThrowingStream<AnswerPart, any Error> {
        let headers = (request.allHTTPHeaderFields ?? [:]).map { ($0.key.lowercased(), $0.value) }
        let heard = Heard(
            method: request.httpMethod ?? "", path: request.url?.path ?? "", query: request.url?.query ?? "",
            headers: Dictionary(headers, uniquingKeysWith: { $1 }), body: request.httpBody ?? Data())
        let rule = state.with { state in
            state.heard.append(heard)
            return state.rules.last { heard.path.hasSuffix($0.0) }?.1
        }
        let reply = rule?(heard) ?? .unreachable
        return AsyncThrowingStream { parts in
            switch reply {
            case .answer(let status, let body, let headers):
                parts.yield(.head(status: status, headers: headers.merging(["content-type": "application/json"]) { given, _ in given }))
                parts.yield(.bytes(Data(body.utf8)))
                parts.finish()
            case .events(let events, let ends):
                parts.yield(.head(status: 200, headers: ["content-type": "text/event-stream"]))
                for event in events { parts.yield(.bytes(Data(event.utf8))) }
                if ends { parts.finish() }
            case .silence:
                break
            case .unreachable, .lost:
                parts.finish(throwing: URLError(.cannotConnectToHost))
            }
        }
    }
}
