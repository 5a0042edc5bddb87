// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package dev.tocsin

import com.google.gson.JsonElement
import com.google.gson.JsonObject
import com.google.gson.JsonParser
import com.google.protobuf.Any
import com.google.protobuf.Duration
import dev.tocsin.failure.BadRequest
import dev.tocsin.failure.ErrorInfo
import dev.tocsin.failure.RequestInfo
import dev.tocsin.failure.RetryInfo
import dev.tocsin.failure.Status as Failure
import io.grpc.Metadata
import io.grpc.Status
import io.grpc.StatusException
import io.grpc.internal.GrpcUtil
import java.io.File

/** The examples that all libraries pass, out of mobile-sdk/vectors. */
internal object Vectors {
    fun cases(name: String): List<JsonObject> =
        JsonParser.parseString(File("../../vectors/$name").readText()).asJsonObject["cases"].asJsonArray.map { it.asJsonObject }

    /** What gRPC makes of a failed answer of a vector. */
    fun failure(case: JsonObject): StatusException {
        val http = case["status"].asInt
        val trailers = Metadata()
        case["header"]?.asJsonObject?.get("Retry-After")?.let { trailers.put(key("retry-after"), it.asString) }
        val answer = case["answer"]?.takeIf { it.isJsonObject }?.asJsonObject ?: return StatusException(GrpcUtil.httpStatusToGrpcStatus(http), trailers)
        val code = Status.fromCodeValue(answer["code"].asInt)
        val details = answer["details"]?.asJsonArray.orEmpty().mapNotNull { detail(it.asJsonObject) }
        val status = Failure.newBuilder().setCode(answer["code"].asInt).setMessage(answer["message"].asString).addAllDetails(details)
        trailers.put(Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER), status.build().toByteArray())
        return StatusException(code.withDescription(answer["message"].asString), trailers)
    }

    private fun key(name: String) = Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER)

    private fun detail(detail: JsonObject): Any? {
        val type = detail["@type"].asString
        val message = when (type.substringAfterLast('.')) {
            "ErrorInfo" -> ErrorInfo.newBuilder().setReason(detail["reason"].asString).setDomain(detail["domain"].asString)
                .putAllMetadata(detail["metadata"].asJsonObject.texts()).build()
            "RetryInfo" -> RetryInfo.newBuilder().setRetryDelay(Duration.newBuilder().setSeconds(detail["retryDelay"].asString.removeSuffix("s").toLong())).build()
            "RequestInfo" -> RequestInfo.newBuilder().setRequestId(detail["requestId"].asString).build()
            "BadRequest" -> BadRequest.newBuilder().addAllFieldViolations(
                detail["fieldViolations"].asJsonArray.map {
                    BadRequest.FieldViolation.newBuilder().setField(it.asJsonObject["field"].asString)
                        .setDescription(it.asJsonObject["description"].asString).build()
                },
            ).build()
            else -> return null
        }
        return Any.newBuilder().setTypeUrl(type).setValue(message.toByteString()).build()
    }
}

internal fun JsonObject.text(key: String): String = this[key]?.takeIf { it.isJsonPrimitive }?.asString.orEmpty()

internal fun JsonObject.long(key: String): Long = this[key]?.asLong ?: 0

internal fun Iterable<JsonElement>?.orEmpty(): Iterable<JsonElement> = this ?: emptyList()
