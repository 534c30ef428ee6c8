<?php
namespace Clew\Orders\Observer;

use Magento\Framework\App\Config\ScopeConfigInterface;
use Magento\Framework\Event\Observer;
use Magento\Framework\Event\ObserverInterface;
use Psr\Log\LoggerInterface;

/** Reports each saved order to clew. */
class Report implements ObserverInterface
{
    private const STATES = ['new' => 'placed', 'pending_payment' => 'seen', 'payment_review' => 'held', 'processing' => 'paid',
        'complete' => 'paid', 'closed' => 'refunded', 'canceled' => 'cancelled', 'holded' => 'held'];

    public function __construct(private ScopeConfigInterface $config, private LoggerInterface $logger)
    {
    }

    private function money($value)
    {
        return number_format((float) $value, 4, '.', '');
    }

    /** A text as clew takes it: without control characters, at most 200 characters. */
    private function text($value)
    {
        return mb_substr(trim((string) preg_replace('/[\p{Cc}\p{Zl}\p{Zp}]+/u', ' ', (string) $value)), 0, 200);
    }

    public function execute(Observer $observer)
    {
        $order = $observer->getEvent()->getOrder();
        [$url, $secret] = [(string) $this->config->getValue('clew/orders/url'), (string) $this->config->getValue('clew/orders/secret')];
        if ($url === '' || $secret === '') {
            return;
        }
        $refunds = [];
        foreach ($order->getCreditmemosCollection() ?: [] as $memo) {
            $refunds[] = ['id' => (string) $memo->getIncrementId(), 'amount' => $this->money($memo->getBaseGrandTotal()),
                'items' => array_values(array_map(fn ($i) => ['id' => $this->text($i->getSku()), 'quantity' => $this->money($i->getQty()), 'amount' => $this->money($i->getBaseRowTotalInclTax())], $memo->getItems()))];
        }
        $items = array_map(fn ($i) => array_filter(['id' => $this->text($i->getSku()), 'name' => $this->text($i->getName()), 'quantity' => $this->money($i->getQtyOrdered()),
            'price' => $this->money($i->getBasePriceInclTax()), 'discount' => $this->money($i->getBaseDiscountAmount())], fn ($value) => $value !== ''), $order->getAllVisibleItems());
        $email = strtolower(trim((string) $order->getCustomerEmail()));
        // Amounts in the shop's base currency.
        $body = array_filter([
            'id' => $order->getIncrementId(), 'numbers' => ['magento:' . $order->getId()],
            'total' => $this->money($order->getBaseGrandTotal()), 'currency' => $order->getBaseCurrencyCode(),
            'tax' => $this->money($order->getBaseTaxAmount()), 'shipping' => $this->money($order->getBaseShippingAmount()),
            'discount' => $this->money(abs((float) $order->getBaseDiscountAmount())), 'coupon' => $order->getCouponCode() ?: null,
            'state' => self::STATES[$order->getState()] ?? null, 'refunds' => $refunds,
            // clew takes 200 items; a part of them would make wrong sums.
            'items' => count($items) <= 200 ? array_values($items) : null, 'visitor' => $order->getData('clew_token'),
            'placed_at' => strtotime($order->getCreatedAt() . ' UTC') ?: null, 'updated_at' => time(),
            // Without an address, its hash would be that of all orders without one.
            'email_hash' => $email ? hash('sha256', $email) : null,
        ], fn ($value) => $value !== null && $value !== []);
        // https://github.com/standard-webhooks/standard-webhooks
        [$id, $at, $text] = [bin2hex(random_bytes(16)), time(), json_encode($body)];
        $mac = base64_encode(hash_hmac('sha256', "$id.$at.$text", $secret, true));
        $call = curl_init($url);
        curl_setopt_array($call, [CURLOPT_POST => true, CURLOPT_POSTFIELDS => $text, CURLOPT_RETURNTRANSFER => true, CURLOPT_TIMEOUT => 5,
            CURLOPT_HTTPHEADER => ['Content-Type: application/json', "webhook-id: $id", "webhook-timestamp: $at", "webhook-signature: v1,$mac"]]);
        $answer = curl_exec($call);
        if (curl_getinfo($call, CURLINFO_RESPONSE_CODE) != 200) {
            $this->logger->error('clew did not take order ' . $body['id'] . ': ' . ($answer ?: curl_error($call)));
        }
        curl_close($call);
    }
}
