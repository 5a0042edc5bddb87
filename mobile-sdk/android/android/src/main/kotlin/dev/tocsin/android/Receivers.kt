// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package dev.tocsin.android

import android.app.AlarmManager
import android.app.PendingIntent
import android.app.job.JobInfo
import android.app.job.JobParameters
import android.app.job.JobScheduler
import android.app.job.JobService
import android.content.BroadcastReceiver
import android.content.ComponentName
import android.content.Context
import android.content.Intent
import android.net.Uri
import android.os.Build
import android.os.SystemClock
import dev.tocsin.Card
import dev.tocsin.LockedException
import dev.tocsin.v1.ActRequest.Verb

/** The button of a card, on the locked phone too; and the alarm that looks whether a tap was confirmed. */
public class TapReceiver : BroadcastReceiver() {
    override fun onReceive(context: Context, intent: Intent) {
        val tocsin = Tocsin.running ?: return
        val pending = goAsync()
        if (intent.action == ACKNOWLEDGE) {
            try {
                tocsin.tap(card(intent), intent.getStringExtra(INCIDENT).orEmpty(), Verb.VERB_ACKNOWLEDGE)
            } catch (_: LockedException) {
                // Only the other verbs can be locked.
            }
        }
        tocsin.work { pending?.finish() }
    }

    internal companion object {
        const val ACKNOWLEDGE = "dev.tocsin.android.ACKNOWLEDGE"
        const val CONFIRM = "dev.tocsin.android.CONFIRM"
        private const val DELIVERY = "delivery"
        private const val TAG = "tag"
        private const val EXPIRES = "expires"
        private const val TOKEN = "token"
        private const val INCIDENT = "incident"

        fun intent(context: Context, card: Card, incidentId: String): Intent = Intent(ACKNOWLEDGE, Uri.fromParts("tocsin", card.tag, null), context, TapReceiver::class.java)
            .putExtra(DELIVERY, card.deliveryId).putExtra(TAG, card.tag).putExtra(EXPIRES, card.expires)
            .putExtra(TOKEN, card.actionToken).putExtra(INCIDENT, incidentId)
            .addFlags(Intent.FLAG_RECEIVER_FOREGROUND)

        private fun card(intent: Intent) = Card(
            intent.getStringExtra(DELIVERY).orEmpty(), intent.getStringExtra(TAG).orEmpty(),
            intent.getLongExtra(EXPIRES, 0), intent.getStringExtra(TOKEN).orEmpty(),
        )
    }
}

/** What happens to the phone: it was started, unlocked or set otherwise, or the app was updated. */
public class PhoneReceiver : BroadcastReceiver() {
    override fun onReceive(context: Context, intent: Intent) {
        val tocsin = Tocsin.running ?: return
        val pending = goAsync()
        // After an update, a start, and each setting that decides whether pages are heard.
        if (intent.action != Intent.ACTION_LOCKED_BOOT_COMPLETED) tocsin.refresh()
        tocsin.hurry()
        tocsin.work { pending?.finish() }
    }
}

/** Does what waits once there is a network, as WorkManager would: the system keeps it over a restart. */
public class DeliveryJob : JobService() {
    override fun onStartJob(params: JobParameters): Boolean {
        val tocsin = Tocsin.running ?: return false
        tocsin.hurry() // the network is back, or it is time
        tocsin.work(WINDOW) { jobFinished(params, false) } // it plans the next by itself
        return true
    }

    // A job that is planned anew stops the one that runs: the calls of that go on, or a tap would wait for the new one.
    override fun onStopJob(params: JobParameters): Boolean = true // again, when the network is back

    private companion object {
        const val WINDOW = 60_000L
    }
}

/** When the system wakes the app for what waits. */
internal class Retry(private val context: Context) {
    private val jobs = context.service<JobScheduler>()
    private val alarms = context.service<AlarmManager>()

    /**
     * Plans what [next] says at this moment: after how many milliseconds something wants to be done by the network;
     * null: nothing. One at a time, so that no older answer takes the place of a newer one.
     */
    @Synchronized
    fun plan(next: () -> Long?): Long? {
        val after = next()
        if (after == null) {
            cancel()
            return null
        }
        val job = JobInfo.Builder(JOB, ComponentName(context, DeliveryJob::class.java))
            .setRequiredNetworkType(JobInfo.NETWORK_TYPE_ANY)
            .setMinimumLatency(after)
            .setBackoffCriteria(JobInfo.MIN_BACKOFF_MILLIS, JobInfo.BACKOFF_POLICY_LINEAR)
            .setPersisted(true)
        jobs.schedule(job.build())
        return after
    }

    /** Looks, without a network too, whether what was tapped now on the card of [tag] is confirmed when it should be. */
    fun confirm(tag: String) {
        val at = SystemClock.elapsedRealtime() + CONFIRM
        if (Build.VERSION.SDK_INT < Build.VERSION_CODES.S || alarms.canScheduleExactAlarms()) {
            alarms.setExactAndAllowWhileIdle(AlarmManager.ELAPSED_REALTIME_WAKEUP, at, alarm(tag))
        } else {
            alarms.setAndAllowWhileIdle(AlarmManager.ELAPSED_REALTIME_WAKEUP, at, alarm(tag))
        }
    }

    /** Nothing more comes of the tap on that card. */
    fun confirmed(tag: String) = alarms.cancel(alarm(tag))

    @Synchronized
    fun cancel() = jobs.cancel(JOB)

    // One for each card: a second tap elsewhere must not put off the alarm of the first.
    private fun alarm(tag: String): PendingIntent = PendingIntent.getBroadcast(
        context, 0, Intent(TapReceiver.CONFIRM, Uri.fromParts("tocsin", tag, null), context, TapReceiver::class.java).addFlags(Intent.FLAG_RECEIVER_FOREGROUND),
        PendingIntent.FLAG_UPDATE_CURRENT or PendingIntent.FLAG_IMMUTABLE,
    )

    companion object {
        const val JOB = 0x70c51
        const val CONFIRM = 15_500L
    }
}
