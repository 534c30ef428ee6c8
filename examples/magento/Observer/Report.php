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

    public function execute(Observer $observer)
    {
        $order = $observer->getEvent()->getOrder();
        [$url, $secret] = [(string) $this->config->getValue('clew/orders/url'), (string) $this->config->getValue('clew/orders/secret')];
        if ($url === '' || $secret === '') {
            return;
        }
        $refunds = [];
        foreach ($order->getCreditmemosCollection() ?: [] as $memo) {
            $refunds[] = ['id' => (string) $memo->getIncrementId(), 'amount' => (string) $memo->getBaseGrandTotal(),
                'items' => array_values(array_map(fn ($i) => ['id' => $i->getSku(), 'quantity' => (string) $i->getQty(), 'amount' => (string) ($i->getBaseRowTotalInclTax() ?: 0)], $memo->getItems()))];
        }
        $items = array_map(fn ($i) => ['id' => $i->getSku(), 'name' => mb_substr($i->getName(), 0, 200), 'quantity' => (string) $i->getQtyOrdered(),
            'price' => (string) $i->getBasePriceInclTax(), 'discount' => (string) $i->getBaseDiscountAmount()], $order->getAllVisibleItems());
        // Amounts in the shop's base currency.
        $body = array_filter([
            'id' => $order->getIncrementId(), 'numbers' => ['magento:' . $order->getId()],
            'total' => (string) $order->getBaseGrandTotal(), 'currency' => $order->getBaseCurrencyCode(),
            'tax' => (string) $order->getBaseTaxAmount(), 'shipping' => (string) $order->getBaseShippingAmount(),
            'discount' => (string) abs($order->getBaseDiscountAmount()), 'coupon' => $order->getCouponCode() ?: null,
            'state' => self::STATES[$order->getState()] ?? null, 'refunds' => $refunds, 'items' => $items, 'visitor' => $order->getData('clew_token'),
            'placed_at' => strtotime($order->getCreatedAt() . ' UTC') ?: null, 'updated_at' => time(),
            'email_hash' => hash('sha256', strtolower(trim((string) $order->getCustomerEmail()))),
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
