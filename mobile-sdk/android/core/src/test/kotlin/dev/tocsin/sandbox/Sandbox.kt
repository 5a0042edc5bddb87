// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package dev.tocsin.sandbox

import com.google.gson.Gson
import com.google.gson.JsonElement
import com.google.gson.JsonObject
import com.google.gson.JsonParser
import java.io.File
import java.net.URI
import java.net.http.HttpClient
import java.net.http.HttpRequest
import java.net.http.HttpResponse
import java.time.Duration

/**
 * A real `tocsin serve` with the simulators of push services, and a line to it that can fail
 * (cmd/sandbox). One for all tests of a JVM; it ends with the JVM.
 */
object Sandbox {
    private val http = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build()

    private val started: JsonObject by lazy {
        val root = generateSequence(File("").absoluteFile) { it.parentFile }.first { File(it, "cmd/sandbox").isDirectory }
        // mobile-sdk/android/test builds it beforehand; from an editor it is built here.
        val command = System.getenv("SANDBOX")?.split(' ') ?: listOf("go", "run", "./cmd/sandbox")
        val process = ProcessBuilder(command + "--attached").directory(root).redirectError(ProcessBuilder.Redirect.INHERIT).start()
        Runtime.getRuntime().addShutdownHook(
            Thread {
                process.outputStream.close() // it ends when its standard input does
                process.waitFor()
            },
        )
        JsonParser.parseString(checkNotNull(process.inputStream.bufferedReader().readLine()) { "the sandbox did not start" }).asJsonObject
    }

    private fun where(name: String) = started[name].asString

    val app: String get() = where("app")
    val origin: String get() = where("server")

    /** A link for a phone of ann, ben or cy. */
    fun link(person: String): String = post(where("control") + "/enrolments", "user" to person)["uri"].asString

    /** What a monitor says of a service: payments pages ann and ben, search pages ann. */
    fun alert(service: String, key: String, action: String = "trigger") {
        post(where("control") + "/alerts", "service" to service, "key" to key, "action" to action)
    }

    /** How the line between phones and the server is: up, down, silent, error, lost. */
    fun line(mode: String, status: Int = 0, path: String = "", times: Int = 0, retryAfter: Int = 0) {
        val given = listOf("mode" to mode, "status" to status, "path" to path, "times" to times, "retry_after" to retryAfter)
        post(where("control") + "/line", *given.filter { it.second != 0 && it.second != "" }.toTypedArray())
    }

    /** kill, start or restart the server. */
    fun server(what: String) {
        post(where("control") + "/server", "do" to what)["direct"]?.let { past = it.asString }
    }

    /** Takes a device out, as an administrator does. */
    fun revoke(device: String) {
        post(where("control") + "/$device/revoke")
    }

    private var past = ""

    // Where the server is past the line.
    private val direct get() = past.ifEmpty { where("direct") }

    /** How much of a page to a person is in the clear: FULL, TITLE, MINIMAL or SEALED. */
    fun privacy(person: String, level: String) {
        val body = """{"name":"users/$person","privacy":"PRIVACY_$level"}"""
        send(
            HttpRequest.newBuilder(URI("$direct/v1/users/$person?updateMask=privacy")).header("Authorization", "Bearer " + where("token"))
                .method("PATCH", HttpRequest.BodyPublishers.ofString(body)),
        )
    }

    /** Acknowledges an incident by another way than a phone: as administrator. */
    fun acknowledge(incident: String) {
        send(
            HttpRequest.newBuilder(URI("$direct/v1/incidents/$incident:acknowledge")).header("Authorization", "Bearer " + where("token"))
                .POST(HttpRequest.BodyPublishers.ofString("{}")),
        )
    }

    /** Makes a call as administrator, by JSON, past the line. */
    fun call(path: String): JsonObject =
        send(HttpRequest.newBuilder(URI(direct + path)).header("Authorization", "Bearer " + where("token")))

    /** A phone at Google's simulator. */
    fun handset(name: String): Handset = Handset(post(where("fcm") + "/api/phones", "name" to name)["token"].asString)

    /** What Google has for one phone, in the order in which it comes. */
    class Handset internal constructor(val token: String) {
        private var after = 0L

        /** The data of the next message to this phone, within 20 s. */
        fun next(): Map<String, String> {
            val end = System.nanoTime() + 20_000_000_000
            while (System.nanoTime() < end) {
                val answer = send(HttpRequest.newBuilder(URI(where("fcm") + "/api/requests?after=$after&limit=1&wait=5s")))
                after = answer["next"].asLong
                val request = answer["requests"].asJsonArray.firstOrNull()?.asJsonObject ?: continue
                val message = request["body"]?.takeIf(JsonElement::isJsonObject)?.asJsonObject?.get("message")?.asJsonObject ?: continue
                if (message["token"].asString == token) return message["data"].asJsonObject.entrySet().associate { it.key to it.value.asString }
            }
            error("no push came within 20 s")
        }

        /** The next message of a [kind]. */
        fun next(kind: String): Map<String, String> = generateSequence { next() }.first { it["k"] == kind }
    }

    private fun post(url: String, vararg body: Pair<String, Any>): JsonObject = send(
        HttpRequest.newBuilder(URI(url)).header("Content-Type", "application/json")
            .POST(HttpRequest.BodyPublishers.ofString(Gson().toJson(mapOf(*body)))),
    )

    private fun send(request: HttpRequest.Builder): JsonObject {
        val answer = http.send(request.timeout(Duration.ofSeconds(40)).build(), HttpResponse.BodyHandlers.ofString())
        check(answer.statusCode() == 200) { "${answer.uri()} answers ${answer.statusCode()}: ${answer.body()}" }
        return JsonParser.parseString(answer.body()).asJsonObject
    }
}
